import { expect } from 'chai'
import { createGithubRepository } from '../../../src/lib/adapters/registry/githubRepository.js'
import type { EntryRequest } from '../../../src/lib/domain/registry/addition.js'
import { hostFileText } from '../../../src/lib/domain/registry/hostFile.js'
import { decideBranch, isUntouched } from '../../../src/lib/domain/registry/pullRequest.js'
import { parseRegistry } from '../../../src/lib/domain/registry/registry.js'
import { changeRegistry } from '../../../src/lib/ops/registry/changeRegistry.js'
import type { AskedEdit } from '../../../src/lib/ops/registry/editRegistry.js'
import { failureOf } from '../../support/failure.js'
import { GITHUB_TOKEN, startPlane, type TestPlane } from '../../support/plane.js'

const BRANCH = 'registry/add-clawdinator-3'
const SENTINEL = 'upstream-body-sentinel'

describe('a registry edit as a pull request', () => {
  let plane: TestPlane
  beforeEach(async () => {
    plane = await startPlane()
  })
  afterEach(() => plane.close())

  const repository = (change: object = {}) =>
    createGithubRepository({
      apiUrl: plane.githubUrl,
      token: async () => GITHUB_TOKEN,
      owner: 'acme',
      repo: 'fleet',
      userAgent: 'clawctl/test',
      ...change,
    })
  const propose = (
    asked: AskedEdit,
    options: { dryRun?: boolean; base?: string; repository?: object; by?: string } = {},
  ) =>
    changeRegistry(
      asked,
      {
        dryRun: options.dryRun ?? false,
        pr: true,
        asker: { requestedBy: options.by ?? null, caller: 'clawdinator-1' },
      },
      {
        checkout: { read: never, edit: never, hostFiles: never },
        repository: async () => ({ repository: repository(options.repository), base: options.base ?? null }),
        steps: { secrets: null, fleet: null, hasBundle: null },
      },
    )
  const never = async () => {
    throw new Error('the checkout is not touched')
  }
  const add = (change: Partial<EntryRequest> = {}, options: Parameters<typeof propose>[1] = {}) =>
    propose({ kind: 'add', entry: { id: 'clawdinator-3', ...change } }, options)
  const fileOn = async (branch: string, path: string) => {
    const { git } = plane.github
    const file = await git.file(git.branch(branch) ?? '', path)
    return file?.toString() ?? null
  }
  const idsOn = async (branch: string) =>
    parseRegistry((await fileOn(branch, 'nix/instances.json')) ?? '', 'x').map(({ id }) => id)
  const pulls = () => plane.github.git.pulls
  const writes = () =>
    plane.seen.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`)

  it('is one commit with both files on its own branch, and a text with the change and the remaining steps', async () => {
    const { pullRequest, status, steps } = await add({}, { by: 'Jo `@everyone`' })
    expect(status).to.equal('proposed')
    expect(pullRequest).to.deep.equal({
      number: 1,
      url: `${plane.githubUrl}/acme/fleet/pull/1`,
      branch: BRANCH,
      base: 'main',
      status: 'created',
    })
    expect(await idsOn(BRANCH)).to.deep.equal(['clawdinator-1', 'clawdinator-2', 'clawdinator-3'])
    expect(await fileOn(BRANCH, 'nix/hosts/clawdinator-3.nix')).to.equal(hostFileText('clawdinator-3'))
    expect(await idsOn('main')).to.deep.equal(['clawdinator-1', 'clawdinator-2'])
    const { git, sha } = plane.github
    expect(git.resolve(BRANCH)?.parents).to.deep.equal([sha])
    const [pull] = pulls()
    expect(pull).to.include({ title: 'Add clawdinator-3 to the fleet', head: BRANCH, base: 'main' })
    expect(pull?.body).to.include('| discordTokenSecret | `clawdinator-discord-token-3` |')
    expect(pull?.body).to.include('- [ ] Deployed').and.include('clawctl fleet deploy clawdinator-3 --wait')
    expect(pull?.body).to.include("by `clawdinator-1` for `Jo '@everyone'`")
    expect(steps.find(({ id }) => id === 'merged')?.command).to.equal(`gh pr merge ${pullRequest?.url}`)
  })

  it('is found again, and nothing is written the second time', async () => {
    await add()
    plane.seen.length = 0
    const { pullRequest } = await add()
    expect(pullRequest).to.include({ number: 1, status: 'unchanged' })
    expect(writes()).to.deep.equal([])
    expect(pulls()).to.have.length(1)
  })

  it('is updated if the values differ, with one new commit on the base', async () => {
    await add()
    const { pullRequest } = await add({ instanceType: 't3.xlarge' })
    expect(pullRequest).to.include({ number: 1, status: 'updated' })
    expect(await fileOn(BRANCH, 'nix/instances.json')).to.include('"instanceType":"t3.xlarge"')
    expect(plane.github.git.resolve(BRANCH)?.parents).to.deep.equal([plane.github.sha])
    expect(pulls()[0]?.body).to.include('`t3.xlarge`')
  })

  it('resumes after an interruption: a branch without a pull request', async () => {
    await add()
    pulls().length = 0
    const { pullRequest } = await add()
    expect(pullRequest?.status).to.equal('created')
    expect(pulls()).to.have.length(1)
  })

  it('is opened again if the first one was closed, but not if it was merged', async () => {
    await add()
    Object.assign(pulls()[0] ?? {}, { state: 'closed' })
    expect((await add()).pullRequest).to.include({ number: 2, status: 'created' })
    plane.writeRegistry((await fileOn(BRANCH, 'nix/instances.json')) ?? '')
    const base = plane.github.options.readFile
    plane.github.options.readFile = async (path) => (path.startsWith('nix/hosts/') ? Buffer.from('{ }') : base(path))
    expect(await add()).to.include({ status: 'unchanged', pullRequest: null })
  })

  it('never rewrites commits of others on the branch', async () => {
    await add()
    const { git } = plane.github
    const head = git.resolve(BRANCH)
    const tree = git.addTree(head?.tree ?? '', new Map([['nix/hosts/clawdinator-3.nix', Buffer.from('{ mine = 1; }')]]))
    git.setBranch(BRANCH, git.addCommit(tree, [head?.sha ?? ''], 'By hand').sha)
    expect((await add()).pullRequest).to.include({ status: 'unchanged' })
    const error = await failureOf(add({ instanceType: 't3.xlarge' }))
    expect(error.code).to.equal('REGISTRY_CONFLICT')
    expect(error.hint).to.include(`git push origin --delete ${BRANCH}`)
    expect(await fileOn(BRANCH, 'nix/hosts/clawdinator-3.nix')).to.equal('{ mine = 1; }')
    // Amended with our message: its tree is not the one that the message names.
    git.setBranch(BRANCH, git.addCommit(tree, [plane.github.sha], head?.message ?? '').sha)
    expect((await failureOf(add({ instanceType: 't3.xlarge' }))).code).to.equal('REGISTRY_CONFLICT')
  })

  it('removes entry and unchanged host file, on its own branch', async () => {
    const base = plane.github.options.readFile
    plane.github.options.readFile = async (path) =>
      path === 'nix/hosts/clawdinator-2.nix' ? Buffer.from(hostFileText('clawdinator-2')) : base(path)
    const { pullRequest, stays } = await propose({ kind: 'remove', id: 'clawdinator-2' })
    expect(pullRequest?.branch).to.equal('registry/remove-clawdinator-2')
    expect(await idsOn('registry/remove-clawdinator-2')).to.deep.equal(['clawdinator-1'])
    expect(await fileOn('registry/remove-clawdinator-2', 'nix/hosts/clawdinator-2.nix')).to.equal(null)
    expect(pulls()[0]?.body).to.include('clawctl fleet deploy --retire clawdinator-2')
    expect(stays).to.have.length(5)
    expect((await propose({ kind: 'remove', id: 'clawdinator-2' })).pullRequest?.status).to.equal('unchanged')
  })

  it('reads the registry from the base branch, and refuses by it', async () => {
    expect((await failureOf(add({ host: 'clawdinator-1' }))).code).to.equal('REGISTRY_CONFLICT')
    expect((await failureOf(propose({ kind: 'remove', id: 'clawdinator-9' }))).code).to.equal('UNKNOWN_TARGET')
    expect((await failureOf(propose({ kind: 'remove', id: '../x' }))).code).to.equal('UNKNOWN_TARGET')
    plane.writeRegistry('{')
    expect((await failureOf(add())).message).to.match(/^acme\/fleet@main:nix\/instances\.json:1:/)
    expect((await failureOf(add({}, { base: 'dev' }))).message).to.include('no branch "dev"')
    expect(writes()).to.deep.equal([])
  })

  it('writes nothing with --dry-run', async () => {
    const { status, diff, pullRequest } = await add({}, { dryRun: true })
    expect({ status, pullRequest }).to.deep.equal({ status: 'planned', pullRequest: null })
    expect(diff).to.include('+++ b/nix/hosts/clawdinator-3.nix')
    expect(writes()).to.deep.equal([])
  })

  it("names the token's missing permission, and never GitHub's text", async () => {
    const outcomes: [number, string, RegExp][] = [
      [401, 'DENIED', /GITHUB_TOKEN/],
      [403, 'DENIED', /contents: write and pull_requests: write/],
      [404, 'DENIED', /GITHUB_REPO/],
      [422, 'DENIED', /rules/],
      [429, 'RATE_LIMITED', /again/],
    ]
    for (const [status, code, hint] of outcomes) {
      plane.answerAs(({ method }) =>
        method === 'GET' ? null : { status, body: JSON.stringify({ message: `${SENTINEL} ${GITHUB_TOKEN}` }) },
      )
      const error = await failureOf(add())
      expect([status, error.code]).to.deep.equal([status, code])
      expect(error.hint).to.match(hint)
      expect(`${error.message} ${error.hint}`).not.to.include(SENTINEL).and.not.include(GITHUB_TOKEN)
    }
    plane.answerAs(() => null)
    expect((await failureOf(add({}, { repository: { repo: 'other' } }))).code).to.equal('DENIED')
    expect(pulls()).to.deep.equal([])
  })

  it('survives transient failures, also a lost answer after GitHub has acted', async () => {
    plane.faults.add({ on: 'github', kind: 'error', strikes: 1 })
    plane.faults.add({ on: 'github', kind: 'reset', strikes: 1 })
    expect((await add()).pullRequest?.status).to.equal('created')
    pulls().length = 0
    plane.github.git.deleteBranch(BRANCH)
    const lost = new Set(['POST /repos/acme/fleet/git/refs', 'POST /repos/acme/fleet/pulls'])
    plane.answerAs((exchange) => {
      const key = `${exchange.method} ${exchange.url.pathname}`
      if (!lost.delete(key)) return null
      const body = JSON.parse(exchange.body.toString())
      if (key.endsWith('/refs')) plane.github.git.setBranch(BRANCH, body.sha)
      else plane.github.git.addPull({ ...body })
      return { status: 502, body: 'the answer is lost' }
    })
    expect((await add()).pullRequest).to.include({ number: 1, status: 'unchanged' })
    expect(lost.size).to.equal(0)
    expect(pulls()).to.have.length(1)
  })

  it('replaces its branch only if no other person has committed to it', () => {
    const ours = { tree: 'aaaa', parents: ['base'], message: 'x\n\nClawctl-Tree: aaaa\n' }
    const theirs = { ...ours, tree: 'bbbb' }
    expect([isUntouched(ours), isUntouched(theirs), isUntouched({ ...ours, parents: ['a', 'b'] })]).to.deep.equal([
      true,
      false,
      false,
    ])
    const verdicts = [null, ours, { ...ours, parents: ['older'] }, theirs].map((head) =>
      [true, false].map((done) => decideBranch(head, { base: 'base', done })),
    )
    expect(verdicts).to.deep.equal([
      ['create', 'create'],
      ['keep', 'replace'],
      ['replace', 'replace'],
      ['keep', 'refuse'],
    ])
  })
})
