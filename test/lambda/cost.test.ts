import { expect } from 'chai'
import { recordKey } from '../../src/lib/domain/deploy/run.js'
import { heartbeatOf, hostOf } from '../support/fakes.js'
import { BUCKET, LATEST, startPlane, type TestPlane } from '../support/plane.js'
import { environment, event, Lambda } from './invoke.js'

describe('Control API: what a request costs', () => {
  let plane: TestPlane
  let lambda: Lambda
  let now: number
  before(async () => {
    plane = await startPlane()
  })
  after(() => plane.close())
  beforeEach(() => {
    now = Date.now()
    lambda = new Lambda(environment(plane), {
      clock: { now: () => new Date(now), sleep: async () => {} },
    })
    plane.requests.length = 0
  })
  afterEach(() => plane.answerAs(() => null))

  const asked = () => plane.requests.splice(0).length

  it('answers concurrent requests from one read of the fleet, and reads again after two seconds', async () => {
    const { id: instanceId } = plane.launch('clawdinator-1')
    const beat = heartbeatOf(hostOf('clawdinator-1', { instanceId }), { at: new Date(now).toISOString() })
    plane.world.putObject(BUCKET, `heartbeats/clawdinator-1/${instanceId}.json`, JSON.stringify(beat))
    const answers = await Promise.all([1, 2, 3].map(() => lambda.get('/v1/fleet')))
    expect(new Set(answers.map(({ text }) => text)).size).to.equal(1)
    // Reads: registry; instances and their checks; images; the list of heartbeats and the one that exists; the newest
    // deploy; freezes.
    expect(asked()).to.equal(8)
    now += 1_900
    const again = await lambda.get('/v1/fleet')
    expect([asked(), again.line.upstream]).to.deep.equal([0, undefined])
    now += 200
    const later = await lambda.get('/v1/fleet')
    expect(asked()).to.equal(8)
    expect(later.line.upstream).to.have.all.keys('github', 'ec2', 's3')
    expect((later.line.upstream as Record<string, { count: number }>).s3?.count).to.equal(4)
  })

  it('caches the record of a finished deploy, and reads that of a running one each time', async () => {
    const record = (requestId: string, status: string, finishedAt: string | null) => {
      const order = { requestId, target: 'clawdinator-1', amiOverride: null, caller: null, requestedBy: 'Jo' }
      const rest = { ami: LATEST, runId: null, runUrl: null, createdAt: '2026-11-20T10:00:00Z', hosts: [], error: null }
      const text = JSON.stringify({ schema: 1, ...order, ...rest, status, finishedAt })
      plane.world.putObject(BUCKET, recordKey(requestId), text)
    }
    const readAgain = async () => {
      plane.requests.length = 0
      now += 2_100
      const { deploys } = await lambda.get('/v1/deploys')
      const keys = ['request-runs', 'request-ended']
      const reads = keys.map((key) => plane.requests.filter(({ path }) => path.includes(recordKey(key))).length)
      return [...reads, deploys.find(({ requestId }) => requestId === 'request-runs')?.status]
    }
    record('request-ended', 'succeeded', '2026-11-20T10:05:00Z')
    record('request-runs', 'running', null)
    expect(await readAgain()).to.deep.equal([1, 1, 'failed'])
    expect(await readAgain()).to.deep.equal([1, 0, 'failed'])
    record('request-runs', 'rolled-back', '2026-11-20T10:06:00Z')
    expect(await readAgain()).to.deep.equal([1, 0, 'rolled-back'])
    expect(await readAgain()).to.deep.equal([0, 0, 'rolled-back'])
    for (const id of ['request-ended', 'request-runs']) plane.world.deleteObject(BUCKET, recordKey(id))
  })

  it('caches no failure', async () => {
    plane.answerAs(() => ({ status: 401, body: '{}' }))
    expect((await lambda.get('/v1/deploys')).code).to.equal('DENIED')
    expect((await lambda.get('/v1/fleet')).fleet.sources?.registry).to.equal('unavailable')
    plane.answerAs(() => null)
    expect((await lambda.get('/v1/deploys')).status).to.equal(200)
    expect((await lambda.get('/v1/fleet')).fleet.sources?.registry).to.equal('read')
  })

  it('decides a deploy on current facts, and shows it immediately', async () => {
    const { deploys: before } = await lambda.get('/v1/deploys')
    asked()
    const { deploy } = await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-fresh' })
    const paths = plane.requests.map(({ path }) =>
      path
        .replace(/\?.*/, '')
        .split(/\/|%2F/)
        .at(-1),
    )
    expect(paths).to.include.members(['instances.json', 'runs', 'dispatches'])
    const { deploys } = await lambda.get('/v1/deploys')
    expect(deploys.map(({ requestId }) => requestId)).to.deep.equal([
      deploy.requestId,
      ...before.map((d) => d.requestId),
    ])
  })

  it('reads again before it answers that a deploy does not exist', async () => {
    await lambda.get('/v1/deploys')
    await plane.github.dispatch('fleet-deploy.yml', 'main', {
      target: 'clawdinator-2',
      request_id: 'request-elsewhere',
    })
    expect((await lambda.get('/v1/deploys/request-elsewhere')).status).to.equal(200)
  })

  it('logs one line of limited length, whatever the request contains', async () => {
    const target = `${'x'.repeat(90)}\n{"code":"OK"}`
    const { line } = await lambda.deploy({ target, requestedBy: 'Jo' })
    expect(line.target).to.have.length(64)
    expect(line).to.include({ code: 'INVALID_TARGET', status: 400, route: 'createDeploy' })
    const odd = event('G\nET'.repeat(100), '/v1/fleet', {
      requestContext: { http: { method: 'x'.repeat(9_999) }, requestId: 'y'.repeat(9_999) },
    })
    expect(JSON.stringify((await lambda.send(odd)).line).length).to.be.below(400)
  })

  it('logs the cause of a failure, without its text', async () => {
    plane.answerAs(() => ({ status: 500, body: '{"message":"upstream-body-sentinel"}' }))
    const { line } = await lambda.deploy({ target: 'clawdinator-1' })
    expect(line.cause).to.equal('HttpError 500')
  })

  it("answers before Lambda's time limit, and the deploy can be requested again", async () => {
    const hasty = new Lambda(environment(plane), { budgetMs: 300 })
    // From here on: the last test of its plane.
    plane.faults.add({ on: 'github', kind: 'slow', delayMs: 1_000 })
    const answer = await hasty.deploy({ target: 'clawdinator-1', requestId: 'request-hasty' })
    expect([answer.status, answer.code]).to.deep.equal([504, 'TIMED_OUT'])
    expect(answer.hint).to.include('same request id')
    expect(answer.line).to.include({ requestId: 'request-hasty', target: 'clawdinator-1' })
  })
})
