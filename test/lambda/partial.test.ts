import { expect } from 'chai'
import { createPorts } from '../../lambda/context.js'
import { createHandler } from '../../lambda/handler.js'
import { METRICS } from '../../lambda/metrics.js'
import { FREEZE_KEY } from '../../src/lib/domain/deploy/freeze.js'
import { indexKey, recordKey } from '../../src/lib/domain/deploy/run.js'
import type { ObjectStore } from '../../src/lib/ops/ports.js'
import { BUCKET, LATEST, startPlane, type TestPlane } from '../support/plane.js'
import { readStack } from '../support/stacks.js'
import { environment, event, Lambda } from './invoke.js'

const down = { status: 503, body: '{"message":"down"}' }

describe('Control API: with a service unavailable', () => {
  let plane: TestPlane
  let lambda: Lambda
  beforeEach(async () => {
    plane = await startPlane()
    lambda = new Lambda(environment(plane))
  })
  afterEach(() => plane.close())

  const record = (requestId: string, createdAt: string, more: object = {}) => {
    const order = { requestId, target: 'clawdinator-2', amiOverride: null, caller: null, requestedBy: 'Jo' }
    const rest = { ami: LATEST, status: 'succeeded', runId: null, runUrl: null, createdAt, finishedAt: createdAt }
    const body = JSON.stringify({ schema: 1, ...order, ...rest, hosts: [], error: null, ...more })
    plane.world.putObject(BUCKET, indexKey(createdAt, requestId), '{}')
    plane.world.putObject(BUCKET, recordKey(requestId), body)
  }

  it("shows the fleet by its machines' tags without GitHub", async () => {
    plane.launch('clawdinator-1')
    plane.launch('clawdinator-7')
    plane.answerAs(() => down)
    const { status, fleet } = await lambda.get('/v1/fleet')
    expect([status, fleet.sources?.registry, fleet.sources?.heartbeats]).to.deep.equal([200, 'unavailable', 'read'])
    expect(fleet.instances.map(({ id, state }) => [id, state])).to.deep.equal([
      ['clawdinator-1', 'running'],
      ['clawdinator-7', 'running'],
    ])
  })

  it('shows the rest of the fleet if GitHub refuses the token', async () => {
    plane.launch('clawdinator-1')
    const refused = new Lambda(environment(plane, { GITHUB_TOKEN: 'ghp_revoked' }))
    const { status, fleet } = await refused.get('/v1/fleet')
    const shown = [status, fleet.sources?.registry, fleet.sources?.images, fleet.instances.map(({ id }) => id).join()]
    expect(shown).to.deep.equal([200, 'unavailable', 'read', 'clawdinator-1'])
  })

  it('names the entry of an invalid registry, because it was read and must be corrected', async () => {
    plane.writeRegistry('{"clawdinator-1": {"host": 7}}')
    const { status, code, message } = await lambda.get('/v1/fleet')
    expect([status, code]).to.deep.equal([422, 'INVALID_REGISTRY'])
    expect(message).to.include('clawdinator-1')
  })

  it('reports a damaged freeze as unknown, shows the rest, and refuses deploys', async () => {
    plane.launch('clawdinator-1')
    for (const text of ['{}', 'x', '{"schema":1,"freezes":[{"target":"all"}]}']) {
      plane.world.putObject(BUCKET, FREEZE_KEY, text)
      const present = new Lambda(environment(plane))
      const { status, fleet } = await present.get('/v1/fleet')
      expect([status, fleet.sources?.freezes, fleet.freezes]).to.deep.equal([200, 'unavailable', undefined])
      expect(fleet.instances.map(({ id, state }) => `${id} ${state}`)).to.include('clawdinator-1 running')
      const { code, message } = await present.deploy({ target: 'clawdinator-1', requestedBy: 'Jo' })
      expect([code, message.includes(FREEZE_KEY), plane.dispatches()]).to.deep.equal(['NOT_CONFIGURED', true, []])
    }
  })

  it('reports the active machine as unknown if the object of one id is damaged', async () => {
    plane.launch('clawdinator-1')
    plane.launch('clawdinator-1')
    plane.launch('clawdinator-2')
    plane.world.putObject(BUCKET, 'active/clawdinator-1.json', '{}')
    const { status, fleet } = await lambda.get('/v1/fleet')
    expect([status, fleet.sources?.active, fleet.sources?.freezes]).to.deep.equal([200, 'unavailable', 'read'])
    expect(new Set(fleet.instances.map(({ id }) => id))).to.deep.equal(new Set(['clawdinator-1', 'clawdinator-2']))
  })

  it('shows the fleet with unknown health while S3 is slow, within its time limit', async () => {
    plane.launch('clawdinator-1')
    plane.faults.add({ on: 's3', kind: 'hang', strikes: Number.POSITIVE_INFINITY })
    const started = performance.now()
    const { status, fleet } = await lambda.get('/v1/fleet')
    expect(performance.now() - started).to.be.below(10_000)
    expect(status).to.equal(200)
    expect(fleet.sources).to.deep.include({ registry: 'read', heartbeats: 'unavailable', deploys: 'unavailable' })
    expect(fleet.instances.find(({ id }) => id === 'clawdinator-1')?.health).to.equal('unknown')
  })

  it('shows deploys by their records without GitHub, and by their runs without S3', async () => {
    record('request-0001', '2026-11-20T10:00:00.000Z')
    await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0002' })
    plane.answerAs(() => down)
    const records = await lambda.get('/v1/deploys')
    expect(records.deploys.map(({ requestId }) => requestId)).to.deep.equal(['request-0001'])
    expect(records.sources).to.deep.equal({ runs: 'unavailable', records: 'read' })
    expect((await lambda.get('/v1/deploys/request-0001')).sources?.runs).to.equal('unavailable')
    expect((await lambda.get('/v1/deploys/request-0003')).code, 'it may be known to GitHub').to.equal('UPSTREAM')

    plane.answerAs(() => null)
    plane.faults.add({ on: 's3', kind: 'error', strikes: Number.POSITIVE_INFINITY })
    const fresh = new Lambda(environment(plane))
    const runs = await fresh.get('/v1/deploys')
    expect(runs.deploys.map(({ requestId }) => requestId)).to.deep.equal(['request-0002'])
    expect(runs.sources).to.deep.equal({ runs: 'read', records: 'unavailable' })
    plane.answerAs(() => down)
    expect((await new Lambda(environment(plane)).get('/v1/deploys')).code).to.equal('UPSTREAM')
  })

  it('returns each deploy once over all pages, and refuses an invalid cursor', async () => {
    for (let n = 0; n < 25; n++)
      record(`request-10${String(n).padStart(2, '0')}`, new Date(1_790_000_000_000 + (n % 9) * 1000).toISOString())
    await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0002' })
    const seen: string[] = []
    let path = '/v1/deploys?limit=7'
    for (;;) {
      const { deploys, next } = await lambda.get(path)
      seen.push(...deploys.map(({ requestId }) => requestId))
      if (next === null) break
      path = `/v1/deploys?limit=7&before=${next}`
    }
    expect(seen).to.have.length(26)
    expect(new Set(seen).size).to.equal(26)
    expect((await lambda.get('/v1/deploys?before=yesterday')).code).to.equal('INVALID_REQUEST')
  })

  it('returns all pages of more records than one listing, from cached answers', async () => {
    const patient = new Lambda(environment(plane, { CONTROL_API_REUSE_MS: '60000' }))
    const ids = Array.from({ length: 130 }, (_, n) => `request-2${String(n).padStart(3, '0')}`)
    for (const [n, id] of ids.entries()) record(id, new Date(1_790_000_000_000 + n * 1000).toISOString())
    const seen: string[] = []
    for (let path: string | null = '/v1/deploys?limit=20'; path; ) {
      const { deploys, next } = await patient.get(path)
      seen.push(...deploys.map(({ requestId }) => requestId))
      path = next && `/v1/deploys?limit=20&before=${next}`
    }
    expect(seen).to.deep.equal(ids.reverse())
  })

  it("holds a follower's answer until something changes, and no longer than requested", async () => {
    const release = plane.hold()
    await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0002' })
    const path = '/v1/deploys/request-0002'
    const present = new Lambda(environment(plane, { CONTROL_API_REUSE_MS: '0' }))
    let seen = ''
    for (;;) {
      const { deploy, version } = await present.get(path)
      seen = version
      // Here the run waits for `release`.
      if (deploy.steps.some(({ name, status }) => name === 'Install clawctl' && status === 'in_progress')) break
    }
    const started = performance.now()
    const held = await present.get(`${path}?wait=1&seen=${seen}`)
    expect([held.version, performance.now() - started > 900]).to.deep.equal([seen, true])
    const other = await present.get(`${path}?wait=25&seen=0000000000000000`)
    expect(other.version, 'another version is not held').to.equal(seen)
    const waiting = present.get(`${path}?wait=25&seen=${seen}`)
    release()
    expect((await waiting).version).not.to.equal(seen)
    for (const query of ['wait=26', 'wait=-1', 'wait=x', 'seen=x']) {
      expect((await present.get(`${path}?${query}`)).code, query).to.equal('INVALID_REQUEST')
    }
  })
})

describe('Control API: metrics', () => {
  let plane: TestPlane
  beforeEach(async () => {
    plane = await startPlane()
  })
  afterEach(() => plane.close())

  /** The metrics that CloudWatch reads from the lines: metric, value of its dimension, value. */
  function metricsOf(lines: readonly string[]): unknown[][] {
    return lines.flatMap((line) => {
      const data = JSON.parse(line)
      const directives = data._aws.CloudWatchMetrics as {
        Namespace: string
        Dimensions: string[][]
        Metrics: { Name: string }[]
      }[]
      return directives.flatMap(({ Namespace, Dimensions, Metrics }) => {
        expect(Namespace).to.equal('Clawctl')
        const dimension = Dimensions[0]?.[0]
        return Metrics.map(({ Name }) => [Name, dimension ? data[dimension] : null, data[Name]])
      })
    })
  }
  const world = (makePorts = createPorts) => {
    const lines: string[] = []
    const log: string[] = []
    const handle = createHandler(environment(plane), (line) => log.push(line), {
      emit: (line) => lines.push(line),
      makePorts,
    })
    return { handle, metrics: () => metricsOf(lines.splice(0)), logged: () => JSON.parse(log.pop() ?? '') }
  }
  /** The record of a deploy that ended as `kept` a moment ago. */
  const keptNow = () => {
    const now = new Date().toISOString()
    const order = { requestId: 'request-0001', target: 'x', amiOverride: null, caller: null, requestedBy: null }
    const ended = { ami: null, status: 'kept', runId: null, runUrl: null, createdAt: now, finishedAt: now }
    plane.world.putObject(BUCKET, indexKey(now, 'request-0001'), '{}')
    plane.world.putObject(
      BUCKET,
      recordKey('request-0001'),
      JSON.stringify({ schema: 1, ...order, ...ended, hosts: [], error: null }),
    )
  }

  it('count requests, refusals by code, failures of each service and failed dispatches', async () => {
    const { handle, metrics } = world()
    await handle(event('GET', '/v1/fleet', { headers: {} }))
    expect(metrics()).to.deep.equal([
      ['Requests', null, 1],
      ['Refusals', 'UNAUTHORIZED', 1],
    ])
    await handle(event('GET', '/v1/deploys'))
    expect(metrics()).to.deep.equal([['Requests', null, 1]])
    plane.answerAs(({ method }) => (method === 'POST' ? { status: 403, body: '{}' } : null))
    await handle(event('POST', '/v1/deploys', { body: JSON.stringify({ target: 'clawdinator-1' }) }))
    expect(metrics()).to.deep.equal([
      ['Requests', null, 1],
      ['DispatchFailures', null, 1],
      ['Refusals', 'DENIED', 1],
      ['UpstreamFailures', 'github', 1],
    ])
  })

  it("have the names that the platform's alarms and dashboard use", async () => {
    const stack = await readStack('platform')
    expect(stack.locals.get('metrics_namespace')).to.equal('Clawctl')
    expect(Object.keys(METRICS)).to.include.members(Object.keys(stack.locals.get('own_alarms') as object))
    const queries = JSON.stringify(stack.locals.get('query_alarms'))
    for (const name of ['DeployOutcomes', 'HeartbeatMissing'] as const) {
      expect(queries).to.include(name)
      expect(queries).to.include(`, ${METRICS[name]})`)
    }
  })

  it('of the five-minute check name silent hosts, and each end of a deploy once', async () => {
    plane.launch('clawdinator-1', { launchTime: new Date(Date.now() - 3_600_000) })
    keptNow()
    const { handle, metrics, logged } = world()
    expect((await handle({ clawctl: 'watch' })).statusCode).to.equal(200)
    expect(logged()).to.include({ watch: 'OK' })
    expect(metrics()).to.deep.equal([
      ['HeartbeatMissing', 'clawdinator-1', 1],
      ['HeartbeatMissing', 'clawdinator-2', 1],
      ['DeployOutcomes', 'kept', 1],
    ])
    await handle({ clawctl: 'watch' })
    expect(metrics().map(([name]) => name)).to.deep.equal(['HeartbeatMissing', 'HeartbeatMissing'])
    const fromUrl = await handle({ ...event('GET', '/v1/fleet', { headers: {} }), clawctl: 'watch' })
    expect(fromUrl.statusCode, 'nobody from outside can send it').to.equal(401)
  })

  it('of the check count an end once, also if the answer to the write is lost', async () => {
    keptNow()
    const { handle, metrics } = world((...given) => {
      const ports = createPorts(...given)
      const store = ports.store as ObjectStore
      return { ...ports, store: { ...store, putIf: (...put) => store.putIf(...put).then(() => false) } }
    })
    await handle({ clawctl: 'watch' })
    expect(metrics()).to.deep.include(['DeployOutcomes', 'kept', 1])
  })

  it('of the check name what failed, and still contain the rest', async () => {
    keptNow()
    const { handle, metrics, logged } = world((...given) => {
      const ports = createPorts(...given)
      const describeHosts = () => Promise.reject(new TypeError('a defect'))
      return { ...ports, compute: { ...ports.compute, describeHosts } }
    })
    expect((await handle({ clawctl: 'watch' })).statusCode).to.equal(500)
    expect(metrics()).to.deep.equal([['DeployOutcomes', 'kept', 1]])
    const line = logged()
    expect(line).to.include({ watch: 'INTERNAL' })
    expect(line.cause)
      .to.match(/^TypeError/)
      .and.not.include('a defect')
  })
})
