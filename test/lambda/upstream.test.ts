import { expect } from 'chai'
import { readConfiguration } from '../../lambda/configuration.js'
import { createPorts } from '../../lambda/context.js'
import type { Reply } from '../../sandbox/http.js'
import { dispatchDeploy } from '../../src/lib/ops/deploy/dispatchDeploy.js'
import { failureOf } from '../support/failure.js'
import { startPlane, type TestPlane } from '../support/plane.js'
import { environment, Lambda } from './invoke.js'

/** A text in every failing answer of an upstream; it must never be in our answer. */
const SENTINEL = 'upstream-body-sentinel'

const fails = (status: number, headers: Record<string, string> = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  body: JSON.stringify({ message: SENTINEL, errors: [SENTINEL] }),
})

describe('Control API: failures of upstream services', () => {
  let plane: TestPlane
  let lambda: Lambda
  beforeEach(async () => {
    plane = await startPlane()
    lambda = new Lambda(environment(plane))
  })
  afterEach(async () => {
    expect(lambda.lines.join('\n')).not.to.include(SENTINEL)
    await plane.close()
  })

  /** Status and code of a deploy whose dispatch GitHub answers in this way, and the number of dispatches. */
  async function dispatched(reply: Reply): Promise<[number, string, number]> {
    plane.answerAs(({ method }) => (method === 'POST' ? reply : null))
    const answer = await lambda.deploy({ target: 'clawdinator-1' })
    expect(answer.text).not.to.include(SENTINEL)
    expect(plane.github.runs).to.deep.equal([])
    return [answer.status, answer.code, plane.dispatches().length]
  }

  for (const status of [401, 403, 404, 422]) {
    it(`maps a dispatch that GitHub answers with ${status} to DENIED, without a retry`, async () => {
      expect(await dispatched(fails(status))).to.deep.equal([502, 'DENIED', 1])
    })
  }

  it("names what a maintainer has to fix for a refused dispatch, by GitHub's text", async () => {
    const words: [number, string, string][] = [
      [422, 'No ref found for: main', 'GITHUB_REF'],
      [422, "Workflow does not have 'workflow_dispatch' trigger", 'no workflow_dispatch trigger'],
      [422, 'Unexpected inputs provided: ["caller"]', 'other inputs'],
      [422, "Required input 'x' not provided", 'other inputs'],
      [422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow", 'disabled'],
      [422, 'Actions has been disabled for this repository.', 'Actions are disabled'],
      [422, 'failed to parse workflow: (Line: 1)', 'not a valid workflow'],
      [422, 'something new', 'Actions tab'],
      [404, 'Not Found', 'GITHUB_WORKFLOW'],
      [403, 'Resource not accessible by personal access token', 'actions: write'],
      [403, 'Resource protected by organization SAML enforcement.', 'single sign-on'],
      [403, 'Repository was archived so is read-only.', 'unarchive'],
      [401, 'Bad credentials', 'GITHUB_TOKEN'],
    ]
    for (const [status, message, shown] of words) {
      plane.answerAs(({ method }) => (method === 'POST' ? { status, body: JSON.stringify({ message }) } : null))
      const answer = await lambda.deploy({ target: 'clawdinator-1' })
      expect([message, answer.status, answer.code]).to.deep.equal([message, 502, 'DENIED'])
      expect(`${answer.message} ${answer.hint}`).to.include(shown).and.not.include(message)
    }
    const elsewhere = await new Lambda(environment(plane, { GITHUB_REPO: 'acme/other' })).get('/v1/deploys')
    expect(elsewhere.message).to.include('The repository acme/other does not exist')
    expect(elsewhere.hint).to.include('GITHUB_REPO')
  })

  it('reports the time at which a rate limit ends', async () => {
    const reset = String(Date.parse('2026-11-20T10:00:00Z') / 1000)
    plane.answerAs(() => fails(403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset }))
    const exhausted = await lambda.deploy({ target: 'clawdinator-1' })
    expect([exhausted.code, exhausted.hint.includes('2026-11-20T10:00:00.000Z')]).to.deep.equal(['RATE_LIMITED', true])
    plane.answerAs(() => fails(429, { 'retry-after': '60' }))
    expect((await lambda.deploy({ target: 'clawdinator-1' })).hint).to.include('60 s')
  })

  it('maps every rate limit to RATE_LIMITED and 5xx to UPSTREAM, and retries transient failures', async () => {
    const ways: Record<string, Reply> = {
      'request-secondary': fails(403, { 'retry-after': '1' }),
      'request-a-minute': fails(403, { 'retry-after': '60' }),
      'request-exhausted': fails(403, { 'x-ratelimit-remaining': '0' }),
      'request-too-many': fails(429),
    }
    const started = performance.now()
    const idOf = (body: string): string => JSON.parse(body).inputs.request_id
    plane.answerAs(({ method, url, body }) => {
      if (url.pathname.includes('/down.yml/')) return fails(503)
      return method === 'POST' ? (ways[idOf(body.toString())] ?? null) : null
    })
    const limited = Object.keys(ways).map(async (requestId) => {
      const answer = await lambda.deploy({ target: 'clawdinator-1', requestId })
      expect([answer.status, answer.code]).to.deep.equal([429, 'RATE_LIMITED'])
      expect(answer.text).not.to.include(SENTINEL)
      expect(plane.dispatches().filter(({ body }) => idOf(body) === requestId)).to.have.length(
        requestId === 'request-secondary' ? 3 : 1,
      )
    })
    const down = new Lambda(environment(plane, { GITHUB_WORKFLOW: 'down.yml' })).deploy({ target: 'clawdinator-1' })
    const [answer] = await Promise.all([down, ...limited])
    expect(performance.now() - started, 'nobody waits for the minute').to.be.below(55_000)
    expect([answer.status, answer.code]).to.deep.equal([502, 'UPSTREAM'])
    expect(answer.text).not.to.include(SENTINEL)
    expect(plane.seen.filter(({ path }) => path.includes('/down.yml/'))).to.have.length(3)
  })

  it('never repeats a dispatch that GitHub answered with 500, and searches for its run instead', async () => {
    plane.answerAs(({ method }) => (method === 'POST' ? fails(500) : null))
    const ports = createPorts(readConfiguration(environment(plane)))
    let slept = 0
    const clock = {
      now: () => new Date(Date.now() + slept),
      async sleep(ms: number) {
        slept += ms
      },
    }
    const asked = { target: 'clawdinator-1', requestId: 'request-0001' }
    const world = { ...ports, clock, mustHaveTime: () => {} }
    const error = await failureOf(dispatchDeploy(asked, { host: 'none', code: undefined }, world))
    expect([error.code, plane.dispatches().length]).to.deep.equal(['UPSTREAM', 1])
    expect(error.message).not.to.include(SENTINEL)
    expect(slept).to.be.within(3000, 15_000)
    expect(plane.seen.filter(({ path }) => path.includes('/runs?')).length).to.be.within(3, 12)
  })

  it('names what a maintainer has to fix', async () => {
    const hintOf = async (changes: Record<string, string>) => {
      const answer = await new Lambda(environment(plane, changes)).get('/v1/deploys')
      expect([answer.status, answer.code]).to.deep.equal([502, 'DENIED'])
      return `${answer.message} ${answer.hint}`
    }
    expect(await hintOf({ GITHUB_TOKEN: 'ghp_revoked' }))
      .to.include('401')
      .and.include('GITHUB_TOKEN')
    expect(await hintOf({ GITHUB_WORKFLOW: 'other.yml' }))
      .to.include('other.yml')
      .and.include('GITHUB_WORKFLOW')
    expect(await hintOf({ GITHUB_REPO: 'acme/elsewhere' }))
      .to.include('acme/elsewhere')
      .and.include('GITHUB_REPO')
  })

  it('distinguishes a missing registry from other refusals', async () => {
    const answer = await new Lambda(environment(plane, { GITHUB_REF: 'nowhere' })).get('/v1/fleet/clawdinator-1')
    expect([answer.status, answer.code]).to.deep.equal([422, 'REGISTRY_NOT_FOUND'])
    expect(answer.message).to.include('acme/fleet@nowhere:nix/instances.json')
  })

  it('survives two failures of each service, of every kind', async () => {
    plane.launch('clawdinator-1')
    for (const [on, kind] of [
      ['github', 'reset'],
      ['ec2', 'error'],
      ['s3', 'reset'],
    ] as const) {
      plane.faults.add({ on, kind, strikes: 2 })
    }
    expect((await lambda.get('/v1/fleet')).status).to.equal(200)
  })

  it('maps a refusal of AWS to DENIED', async () => {
    process.env.AWS_ACCESS_KEY_ID = 'AKIAUNKNOWN000000000'
    const answer = await lambda.get('/v1/fleet')
    expect([answer.status, answer.code]).to.deep.equal([502, 'DENIED'])
    expect(answer.message).to.include('AuthFailure')
  })

  it('refuses an answer of GitHub in an unknown form', async () => {
    plane.answerAs(() => ({ status: 200, headers: { 'content-type': 'text/html' }, body: `<html>${SENTINEL}</html>` }))
    const answer = await lambda.get('/v1/deploys')
    expect([answer.status, answer.sources]).to.deep.equal([200, { runs: 'unavailable', records: 'read' }])
    expect(answer.text).not.to.include(SENTINEL)
  })

  it('reports its own defect as such, without details', async () => {
    const env = environment(plane)
    Object.defineProperty(env, 'GITHUB_REF', {
      enumerable: true,
      get() {
        throw new TypeError(SENTINEL)
      },
    })
    lambda = new Lambda(env)
    const answer = await lambda.get('/v1/fleet')
    expect([answer.status, answer.code, answer.message]).to.deep.equal([
      500,
      'INTERNAL',
      'The Control API has a defect.',
    ])
    expect(answer.text).not.to.include(SENTINEL).and.not.include('at ')
  })

  it("keeps AWS's text out of the answer", async () => {
    plane.faults.add({ on: 'ec2', kind: 'error', strikes: Number.POSITIVE_INFINITY })
    const answer = await lambda.get('/v1/fleet')
    expect([answer.status, answer.code]).to.deep.equal([502, 'UPSTREAM'])
    expect(answer.text).not.to.include('An internal error has occurred')
  })
})
