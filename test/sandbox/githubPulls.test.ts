import { Octokit } from '@octokit/rest'
import { expect } from 'chai'
import { GITHUB_TOKEN, REGISTRY, startPlane, type TestPlane } from '../support/plane.js'

const REPO = { owner: 'acme', repo: 'fleet' }
const NOWHERE = 'f'.repeat(40)

describe("the sandbox's GitHub: branches and pull requests", () => {
  let plane: TestPlane
  let octokit: Octokit
  before(async () => {
    plane = await startPlane()
    octokit = new Octokit({
      auth: GITHUB_TOKEN,
      baseUrl: plane.githubUrl,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })
  })
  after(() => plane.close())

  const ask = (route: string, parameters: object = {}) => octokit.request(route, { ...REPO, ...parameters })
  const refused = async (route: string, parameters: object = {}): Promise<[number, string]> => {
    try {
      await ask(route, parameters)
    } catch (error) {
      const { status, response } = error as {
        status: number
        response: { data: { message: string; errors?: { message?: string }[] } }
      }
      return [status, response.data.errors?.[0]?.message ?? response.data.message]
    }
    throw new Error('was not refused')
  }
  const commit = async (path: string, content: string, message = 'x') => {
    const base = await ask('GET /repos/{owner}/{repo}/git/ref/{ref}', { ref: 'heads/main' })
    const parent = base.data.object.sha
    const root = await ask('GET /repos/{owner}/{repo}/git/commits/{sha}', { sha: parent })
    const tree = await ask('POST /repos/{owner}/{repo}/git/trees', {
      base_tree: root.data.tree.sha,
      tree: [{ path, mode: '100644', type: 'blob', content }],
    })
    const made = await ask('POST /repos/{owner}/{repo}/git/commits', {
      message,
      tree: tree.data.sha,
      parents: [parent],
    })
    return made.data.sha as string
  }
  const contents = async (path: string, ref: string) => {
    const headers = { accept: 'application/vnd.github.raw' }
    return String((await ask('GET /repos/{owner}/{repo}/contents/{path}', { path, ref, headers })).data)
  }

  it('serves commits on top of the working tree, and does not change main', async () => {
    const sha = await commit('nix/hosts/new.nix', '{ }')
    await ask('POST /repos/{owner}/{repo}/git/refs', { ref: 'refs/heads/topic/one', sha })
    expect(await contents('nix/hosts/new.nix', 'topic/one')).to.equal('{ }')
    expect(JSON.parse(await contents('nix/instances.json', 'refs/heads/topic/one'))).to.deep.equal(REGISTRY)
    expect(
      await refused('GET /repos/{owner}/{repo}/contents/{path}', { path: 'nix/hosts/new.nix', ref: 'main' }),
    ).to.deep.equal([404, 'Not Found'])
    const same = await commit('nix/hosts/new.nix', '{ }')
    const trees = await Promise.all(
      [sha, same].map((one) => ask('GET /repos/{owner}/{repo}/git/commits/{sha}', { sha: one })),
    )
    expect(new Set(trees.map(({ data }) => data.tree.sha)).size).to.equal(1)
  })

  it('opens, finds, changes and closes a pull request', async () => {
    const sha = await commit('a.txt', 'a')
    await ask('POST /repos/{owner}/{repo}/git/refs', { ref: 'refs/heads/topic/two', sha })
    const opened = await ask('POST /repos/{owner}/{repo}/pulls', {
      title: 'T',
      head: 'topic/two',
      base: 'main',
      body: 'B',
    })
    expect(opened.status).to.equal(201)
    const { number, html_url: page } = opened.data
    expect(await (await fetch(page)).text()).to.equal(`T #${number}: open\ntopic/two → main\n\nB\n`)
    const list = async (query: object) => {
      const { data } = await ask('GET /repos/{owner}/{repo}/pulls', query)
      return data.map((pull: { number: number }) => pull.number)
    }
    expect(await list({ head: 'acme:topic/two', base: 'main' })).to.deep.equal([number])
    expect(await list({ head: 'other:topic/two' })).to.deep.equal([])
    const changed = await ask('PATCH /repos/{owner}/{repo}/pulls/{number}', { number, body: 'C' })
    expect(changed.data).to.include({ title: 'T', body: 'C', state: 'open' })
    await ask('DELETE /repos/{owner}/{repo}/git/refs/{ref}', { ref: 'heads/topic/two' })
    expect(await list({ head: 'acme:topic/two' })).to.deep.equal([])
    expect((await ask('GET /repos/{owner}/{repo}/pulls/{number}', { number })).data.state).to.equal('closed')
  })

  it('refuses requests that GitHub refuses', async () => {
    const sha = await commit('b.txt', 'b')
    const refs = 'POST /repos/{owner}/{repo}/git/refs'
    await ask(refs, { ref: 'refs/heads/topic/three', sha })
    const pulls = 'POST /repos/{owner}/{repo}/pulls'
    await ask(pulls, { title: 'T', head: 'topic/three', base: 'main' })
    const other = await commit('c.txt', 'c')
    const move = 'PATCH /repos/{owner}/{repo}/git/refs/{ref}'
    const tree = 'POST /repos/{owner}/{repo}/git/trees'
    const blob = { mode: '100644', type: 'blob' }
    const cases: [string, object, number, RegExp][] = [
      [refs, { ref: 'refs/heads/topic/three', sha }, 422, /Reference already exists/],
      [refs, { ref: 'refs/heads/topic/four', sha: NOWHERE }, 422, /Object does not exist/],
      [refs, { ref: 'topic/four', sha }, 422, /must start with 'refs\/'/],
      [move, { ref: 'heads/topic/nine', sha }, 422, /Reference does not exist/],
      [move, { ref: 'heads/topic/three', sha: other }, 422, /not a fast forward/],
      [tree, { base_tree: NOWHERE, tree: [] }, 404, /Not Found/],
      [tree, { base_tree: plane.github.sha, tree: [{ ...blob, path: '../x', content: '' }] }, 422, /malformed path/],
      [tree, { base_tree: plane.github.sha, tree: [{ ...blob, path: 'none', sha: null }] }, 422, /BadObjectState/],
      [pulls, { title: 'T', head: 'topic/three', base: 'main' }, 422, /A pull request already exists for acme:topic/],
      [pulls, { title: 'T', head: 'main', base: 'main' }, 422, /No commits between/],
      [pulls, { title: 'T', head: 'topic/nine', base: 'main' }, 422, /Validation Failed/],
      ['GET /repos/{owner}/{repo}/git/ref/{ref}', { ref: 'heads/topic/nine' }, 404, /Not Found/],
    ]
    for (const [route, parameters, status, message] of cases) {
      const [code, text] = await refused(route, parameters)
      expect([route, code]).to.deep.equal([route, status])
      expect(text).to.match(message)
    }
    expect((await ask(move, { ref: 'heads/topic/three', sha: other, force: true })).data.object.sha).to.equal(other)
  })
})
