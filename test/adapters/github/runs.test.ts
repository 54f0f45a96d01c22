import { expect } from 'chai'
import { createGithub, type GithubSettings } from '../../../src/lib/adapters/github/runs.js'
import type { Code } from '../../../src/lib/domain/errors.js'
import { failureOf } from '../../support/failure.js'
import { GITHUB_TOKEN, REGISTRY, startPlane, type TestPlane } from '../../support/plane.js'
import { html, json, type Responder, reset, startServer } from '../../support/server.js'

const SENTINEL = 'upstream-body-sentinel'
const request = { target: 'clawdinator-1', requestId: 'request-0001' }

describe('createGithub', () => {
  let plane: TestPlane
  beforeEach(async () => {
    plane = await startPlane()
  })
  afterEach(() => plane.close())

  const settings = (): GithubSettings => ({
    apiUrl: plane.githubUrl,
    token: async () => GITHUB_TOKEN,
    owner: 'acme',
    repo: 'fleet',
    workflow: 'fleet-deploy.yml',
    ref: 'main',
    userAgent: 'clawctl/test',
  })

  const open = (change: Partial<GithubSettings> = {}) => createGithub({ ...settings(), ...change })

  const codeOf = async (work: Promise<unknown>): Promise<Code> => {
    const error = await failureOf(work)
    expect(`${error.message} ${error.hint}`).not.to.include(GITHUB_TOKEN).and.not.include(SENTINEL)
    return error.code
  }

  it('starts a run and reads its jobs', async () => {
    const github = open()
    const started = await github.dispatch(request)
    expect(started?.url).to.equal(`${plane.githubUrl}/acme/fleet/actions/runs/${started?.id}`)
    await plane.github.idle()
    const [run, ...others] = await github.list(5)
    expect(others).to.deep.equal([])
    expect(run).to.deep.include({
      ...started,
      title: 'fleet deploy clawdinator-1 [request-0001]',
      status: 'completed',
      conclusion: 'success',
    })
    for (const moment of [run?.createdAt, run?.startedAt, run?.updatedAt]) {
      expect(moment).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    }
    const jobs = await github.jobs(started?.id ?? 0)
    expect(jobs.map(({ name }) => name)).to.deep.equal(['build', 'deploy'])
    expect(jobs[1]?.steps.map((step) => step.name)).to.include.members(['Check out', 'Deploy'])
    expect(plane.seen.every((seen) => seen.authorization === `Bearer ${GITHUB_TOKEN}`)).to.equal(true)
  })

  it('reads the requested number of runs, newest first', async () => {
    const github = open()
    for (const n of [1, 2, 3]) await github.dispatch({ ...request, requestId: `request-000${n}` })
    const runs = await github.list(2)
    expect(runs.map((run) => run.title.slice(-14))).to.deep.equal(['[request-0003]', '[request-0002]'])
  })

  it('accepts a dispatch whose answer names no run', async () => {
    plane.answerAs(({ method }) => (method === 'POST' ? { status: 204 } : null))
    expect(await open().dispatch(request)).to.equal(null)
  })

  it('reads the registry at the ref as text', async () => {
    const { text, origin } = await open().registry.read()
    expect(JSON.parse(text)).to.deep.equal(REGISTRY)
    expect(origin).to.equal('acme/fleet@main:nix/instances.json')
    const missing = await failureOf(open({ ref: 'nowhere' }).registry.read())
    expect(missing.code).to.equal('REGISTRY_NOT_FOUND')
    expect(missing.message).to.include('acme/fleet@nowhere:nix/instances.json')
  })

  it('gives each refusal a code', async () => {
    expect(await codeOf(open({ token: async () => 'ghp_revoked' }).list(1))).to.equal('DENIED')
    expect(await codeOf(open({ repo: 'other' }).list(1))).to.equal('DENIED')
    expect(await codeOf(open({ workflow: 'none.yml' }).dispatch(request))).to.equal('DENIED')
    expect(await codeOf(open({ ref: 'nowhere' }).dispatch(request))).to.equal('DENIED')
    expect(await codeOf(open({ workflow: 'none.yml' }).jobs(1))).to.equal('DENIED')
    for (const [status, code] of [
      [401, 'DENIED'],
      [403, 'DENIED'],
      [422, 'DENIED'],
      [418, 'UPSTREAM'],
    ] as const) {
      plane.answerAs(() => ({ status, body: JSON.stringify({ message: `${SENTINEL} ${GITHUB_TOKEN}` }) }))
      expect([status, await codeOf(open().list(1))]).to.deep.equal([status, code])
    }
    // Nothing was retried; each of the three 404s caused one more request, for the repository itself.
    const asked = plane.seen.filter(({ path }) => !/^\/repos\/acme\/[^/]+$/.test(path))
    expect([asked.length, plane.seen.length]).to.deep.equal([9, 12])
  })

  it('repeats a read after transient failures, and gives up after three attempts', async () => {
    const throttle: Responder = (response) => {
      response.writeHead(403, { 'retry-after': '1' }).end()
    }
    const outcomes = await Promise.all(
      [reset, html(502, SENTINEL), throttle].map(async (bad) => {
        const [passing, lasting] = [
          await startServer(bad, bad, json(200, { workflow_runs: [] })),
          await startServer(bad),
        ]
        const [runs, code] = await Promise.all([
          open({ apiUrl: passing.url }).list(1),
          codeOf(open({ apiUrl: lasting.url }).list(1)),
        ])
        await Promise.all([passing.close(), lasting.close()])
        return [runs.length, passing.received.length, code, lasting.received.length]
      }),
    )
    expect(outcomes).to.deep.equal([
      [0, 3, 'UPSTREAM', 3],
      [0, 3, 'UPSTREAM', 3],
      [0, 3, 'RATE_LIMITED', 3],
    ])
  })

  it('does not treat a missing answer as an answer of GitHub', async () => {
    const server = await startServer(reset)
    const failure = await failureOf(open({ apiUrl: server.url }).list(1))
    expect(failure.message)
      .to.match(/^GitHub could not be reached to .+ \(.+\)\.$/)
      .and.not.include('500')
    await server.close()
  })

  it('recognises a secondary rate limit also by its text', async () => {
    const message = 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.'
    plane.answerAs(() => ({
      status: 403,
      headers: { 'content-type': 'application/json', 'x-ratelimit-remaining': '4999' },
      body: JSON.stringify({ message }),
    }))
    expect(await codeOf(open().list(1))).to.equal('RATE_LIMITED')
  })

  it("repeats a dispatch only if GitHub can't have received it", async () => {
    const tries: [string, number][] = []
    for (const kind of ['error', 'reset'] as const) {
      plane.requests.length = 0
      plane.faults.add({ on: 'github', kind, strikes: 1 })
      tries.push([await codeOf(open().dispatch(request)), plane.requests.length])
    }
    expect(tries).to.deep.equal([
      ['UPSTREAM', 1],
      ['UPSTREAM', 1],
    ])
    plane.requests.length = 0
    plane.faults.add({ on: 'github', kind: 'throttle', strikes: 1 })
    expect((await open().dispatch(request))?.id).to.be.a('number')
    expect(plane.requests).to.have.length(2)
    expect(plane.github.runs).to.have.length(1)
  })

  it('refuses answers of another form', async () => {
    for (const body of ['{}', '[]', 'null', '"x"', `<html>${SENTINEL}</html>`, '{"workflow_runs":[{"id":"1"}]}']) {
      plane.answerAs(() => ({ status: 200, headers: { 'content-type': 'application/json' }, body }))
      expect([body, await codeOf(open().list(1))]).to.deep.equal([body, 'UPSTREAM'])
    }
  })
})
