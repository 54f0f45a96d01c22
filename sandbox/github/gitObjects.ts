import { createHash } from 'node:crypto'
import { stamp } from './state.js'

export interface CommitState {
  sha: string
  tree: string
  parents: string[]
  message: string
  at: string
}

export interface PullState {
  number: number
  title: string
  body: string | null
  state: 'open' | 'closed'
  head: string
  base: string
  createdAt: string
  updatedAt: string
  closedAt: string | null
}

/** The working tree, which is the only commit of the default branch. */
interface Ground {
  branch: string
  sha: string
  startedAt: string
  options: { readFile(path: string): Promise<Buffer | null> }
}

/** Trees only have changes; all other files come from the working tree, which is read each time. */
type Tree = ReadonlyMap<string, Buffer | null>

/** Commits, branches and pull requests of the API. */
export class GitObjects {
  readonly pulls: PullState[] = []
  readonly #ground: Ground
  readonly #trees = new Map<string, Tree>()
  readonly #commits = new Map<string, CommitState>()
  readonly #branches = new Map<string, string>()

  constructor(ground: Ground) {
    this.#ground = ground
  }

  /** A branch, `refs/heads/…` or a commit. */
  resolve(ref: string): CommitState | null {
    return this.commit(this.branch(ref.replace(/^refs\/heads\//, '')) ?? ref)
  }

  /** The commit that a branch is at. */
  branch(name: string): string | null {
    return name === this.#ground.branch ? this.#ground.sha : (this.#branches.get(name) ?? null)
  }

  commit(sha: string): CommitState | null {
    const { sha: root, startedAt: at } = this.#ground
    if (sha === root) return { sha, tree: root, parents: [], message: 'The working tree', at }
    return this.#commits.get(sha) ?? null
  }

  hasTree(sha: string): boolean {
    return sha === this.#ground.sha || this.#trees.has(sha)
  }

  async file(commit: string, path: string): Promise<Buffer | null> {
    const changed = this.#trees.get(this.commit(commit)?.tree ?? '')?.get(path)
    return changed === undefined ? this.#ground.options.readFile(path) : changed
  }

  /** Whether a file exists in a tree, for deletions. */
  async treeHas(tree: string, path: string): Promise<boolean> {
    const changed = this.#trees.get(tree)?.get(path)
    return (changed === undefined ? await this.#ground.options.readFile(path) : changed) !== null
  }

  /** The digest of the content, as in git. */
  addTree(base: string, files: Tree): string {
    const merged = new Map([...(this.#trees.get(base) ?? []), ...files])
    const named = [...merged].sort(([a], [b]) => (a < b ? -1 : 1))
    const sha = digest(
      'tree',
      named.map(([path, content]) => `${path}\0${content === null ? '' : digest('blob', content)}`).join('\n'),
    )
    this.#trees.set(sha, merged)
    return sha
  }

  addCommit(tree: string, parents: string[], message: string): CommitState {
    const at = stamp()
    const sha = digest('commit', JSON.stringify([tree, parents, message, at]))
    const commit = { sha, tree, parents, message, at }
    this.#commits.set(sha, commit)
    return commit
  }

  setBranch(name: string, sha: string): void {
    this.#branches.set(name, sha)
  }

  deleteBranch(name: string): void {
    this.#branches.delete(name)
    for (const pull of this.pulls) {
      if (pull.head === name && pull.state === 'open') Object.assign(pull, { state: 'closed', closedAt: stamp() })
    }
  }

  /** Whether `to` contains all commits of `from`. */
  isFastForward(from: string, to: string): boolean {
    for (let next: string[] = [to]; next.length > 0; next = next.flatMap((sha) => this.commit(sha)?.parents ?? [])) {
      if (next.includes(from)) return true
    }
    return false
  }

  openPull(head: string, base: string): PullState | undefined {
    return this.pulls.find((pull) => pull.state === 'open' && pull.head === head && pull.base === base)
  }

  addPull(pull: Pick<PullState, 'title' | 'body' | 'head' | 'base'>): PullState {
    const now = stamp()
    const added: PullState = {
      ...pull,
      number: this.pulls.length + 1,
      state: 'open',
      createdAt: now,
      updatedAt: now,
      closedAt: null,
    }
    this.pulls.push(added)
    return added
  }
}

function digest(kind: string, content: string | Buffer): string {
  return createHash('sha1')
    .update(`${kind} ${Buffer.byteLength(content)}\0`)
    .update(content)
    .digest('hex')
}
