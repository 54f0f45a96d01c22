import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { branchProblem, nameProblem, parseSeeds, type Seed } from '../../../domain/bundles/seeds.js'
import { ClawctlError } from '../../../domain/errors.js'
import type { PackedSeed, SeedSource, Seeds } from '../../../ops/bundles/ports.js'
import { reason, shown } from '../secretsFolder.js'
import type { Git } from './git.js'
import { packClone } from './pack.js'

export interface SeedOptions {
  git: Git
  /** A private folder for clones and archives. */
  scratch: () => string
}

/** The repositories of a `repos.tsv`, cloned from their URLs. */
export function listedSeeds(file: string, options: SeedOptions): Seeds {
  return {
    async list() {
      const text = await readFile(file, 'utf8').catch((error) => {
        throw invalid(`The list of repositories ${shown(file)} ${reason(error)}.`, [], error)
      })
      const { seeds, problems } = parseSeeds(text)
      if (problems.length > 0) throw invalid(`${shown(file)} is not a list of repositories.`, problems)
      return seeds.map((seed) => remoteSource(seed, options))
    },
  }
}

/** The repositories in a folder, each at its checked-out commit. */
export function folderSeeds(folder: string, options: SeedOptions): Seeds {
  return {
    async list() {
      const root = resolve(folder)
      const entries = await readdir(root, { withFileTypes: true }).catch((error) => {
        throw invalid(`The folder of repositories ${shown(folder)} ${reason(error)}.`, [], error)
      })
      const names = entries.map(({ name }) => name).filter((name) => !name.startsWith('.'))
      const problems = names.map(nameProblem).filter((problem) => problem !== null)
      if (names.length === 0) problems.push('it has no repository')
      if (problems.length > 0) throw invalid(`${shown(folder)} is not a folder of repositories.`, problems)
      return Promise.all(names.sort().map((name) => localSource(name, join(root, name), options)))
    },
  }
}

function invalid(message: string, details: readonly string[], cause?: unknown): ClawctlError {
  return new ClawctlError('INVALID_REQUEST', message, {
    details,
    hint: 'See clawdinator/repos.tsv and docs/bundle-format.md. Nothing was uploaded.',
    partial: { problems: details },
    ...(cause === undefined ? {} : { cause }),
  })
}

function remoteSource(seed: Seed, options: SeedOptions): SeedSource {
  const ref = `refs/heads/${seed.branch}`
  const failed = `${seed.name} could not be cloned`
  return source(seed, options, {
    from: seed.url,
    ref,
    async commit() {
      const out = await options.git.run(['ls-remote', '--quiet', '--', seed.url, ref], { failed, network: true })
      const commit = out
        .split('\n')
        .find((line) => line.endsWith(`\t${ref}`))
        ?.split('\t')[0]
      if (commit) return commit
      throw new ClawctlError('UPSTREAM', `${failed}: it has no branch ${seed.branch}.`, {
        hint: 'Correct the branch in the list of repositories. Nothing was uploaded.',
      })
    },
  })
}

async function localSource(name: string, path: string, options: SeedOptions): Promise<SeedSource> {
  const failed = `${name} is not a repository that can be packed`
  const git = (...args: string[]) => options.git.run(['-C', path, ...args], { failed })
  const top = await git('rev-parse', '--show-prefix')
  const branch = await git('symbolic-ref', '--quiet', '--short', 'HEAD').catch(() => '')
  if (top !== '' || branchProblem(branch) !== null) {
    throw invalid(`${failed}: it ${top === '' ? 'has no branch checked out' : 'lies inside another one'}.`, [])
  }
  const origin = await git('config', '--get', 'remote.origin.url').catch(() => '')
  const seed = { name, branch, url: withoutCredentials(origin) }
  return source(seed, options, { from: pathToFileURL(path).href, ref: 'HEAD', commit: () => git('rev-parse', 'HEAD') })
}

/** Null if it is not a URL: a host can't use a path. */
function withoutCredentials(origin: string): string | null {
  if (/^[\w.-]+@[\w.-]+:[^/]/.test(origin)) return origin
  if (!URL.canParse(origin)) return null
  const url = new URL(origin)
  url.password = ''
  if (url.protocol !== 'ssh:') url.username = ''
  return url.href
}

function source(
  seed: Omit<SeedSource, 'commit' | 'pack'>,
  { git, scratch }: SeedOptions,
  at: { from: string; ref: string; commit(): Promise<string> },
): SeedSource {
  let packed: Promise<PackedSeed> | undefined
  const pack = async () => {
    const folder = join(scratch(), seed.name)
    const dir = join(folder, 'clone.git')
    await mkdir(folder, { recursive: true })
    const failed = `${seed.name} could not be cloned`
    await git.run(['init', '--quiet', '--bare', '--template=', dir], { failed })
    const own = `refs/heads/${seed.branch}`
    const fetch = [
      'fetch',
      '--quiet',
      '--depth=1',
      '--no-tags',
      '--no-recurse-submodules',
      '--',
      at.from,
      `+${at.ref}:${own}`,
    ]
    await git.run([`--git-dir=${dir}`, ...fetch], { failed, network: true })
    const commit = await git.run([`--git-dir=${dir}`, 'rev-parse', own], { failed })
    const { name, branch, url } = seed
    const made = await packClone(git, { name, dir, branch, commit, url }, folder)
    await Promise.all([dir, join(folder, 'pack')].map((part) => rm(part, { recursive: true, force: true })))
    return made
  }
  return {
    ...seed,
    commit: at.commit,
    pack() {
      packed ??= pack()
      return packed
    },
  }
}
