import { expect } from 'chai'
import { indexKey } from '../../../src/lib/domain/deploy/run.js'
import { getDeploy, listDeploys, newestRecords } from '../../../src/lib/ops/deploy/deploys.js'
import type { ObjectStore } from '../../../src/lib/ops/ports.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeRuns, FakeStore, OLD, recordOf, runOf } from '../../support/fakes.js'

const at = (minute: number) => `2026-03-01T12:${String(minute).padStart(2, '0')}:00Z`

const clock = new FakeClock()

function world() {
  const runs = new FakeRuns()
  const store = new FakeStore()
  const run = (id: number, minute: number, change = {}) =>
    runs.runs.push(runOf(id, { title: `fleet deploy a [request-000${id}]`, createdAt: at(minute), ...change }))
  const record = (id: number, minute: number, change = {}) =>
    store.set(
      `deploys/request-000${id}.json`,
      recordOf({ requestId: `request-000${id}`, createdAt: at(minute), ...change }),
      new Date(at(minute)),
    )
  return { runs, store, run, record, ports: { runs, store, clock } }
}

const deployOf = async (...args: Parameters<typeof getDeploy>) => (await getDeploy(...args)).deploy

describe('a record whose run GitHub does not list', () => {
  it('counts as failed when its run must have ended, and keeps its hosts', async () => {
    const { store, ports } = world()
    const hosts = [
      { id: 'a', outcome: 'deploying' as const, ami: null, previousAmi: OLD.id, instanceId: 'i-a' },
      { id: 'b', outcome: 'pending' as const, ami: null, previousAmi: OLD.id, instanceId: 'i-b' },
    ]
    store.set('deploys/request-0007.json', recordOf({ requestId: 'request-0007', hosts }))
    expect((await deployOf(ports, 'request-0007')).status).to.equal('running')

    const later = new FakeClock()
    await later.sleep(2 * 60 * 60_000 + 1)
    const lost = await deployOf({ ...ports, clock: later }, 'request-0007')
    expect(lost).to.include({ status: 'failed', finishedAt: null })
    expect(lost.error).to.include({ code: 'DEPLOY_FAILED', message: 'The run was lost while it deployed a.' })
    expect(lost.hosts.map((host) => `${host.id} ${host.outcome}`)).to.deep.equal(['a failed', 'b skipped'])
  })
})

describe('listDeploys', () => {
  it('shows runs with their records, and deploys without a run, newest first', async () => {
    const { run, record, ports } = world()
    run(4, 40)
    run(2, 20, { status: 'completed', conclusion: 'failure' })
    record(2, 20, { status: 'rolled-back', ami: OLD.id })
    record(3, 30, { status: 'succeeded' })
    record(1, 10, { status: 'failed' })
    const { deploys } = await listDeploys(ports, { limit: 10 })
    expect(deploys.map((d) => `${d.requestId} ${d.status} ${d.runId}`)).to.deep.equal([
      'request-0004 queued 4',
      'request-0003 succeeded null',
      'request-0002 rolled-back 2',
      'request-0001 failed null',
    ])
  })

  it('shows no more than the requested number of both kinds', async () => {
    const { run, record, ports } = world()
    for (const id of [9, 8, 7]) run(id, id * 5)
    for (const id of [3, 4, 5, 6]) record(id, id * 5 + 20)
    const ids = (await listDeploys(ports, { limit: 3 })).deploys.map((deploy) => deploy.requestId)
    expect(ids).to.deep.equal(['request-0006', 'request-0009', 'request-0005'])
  })

  it('returns only the 50 newest records of a longer index', async () => {
    const { record, ports } = world()
    for (let id = 0; id < 60; id += 1) {
      record(id, id)
      ports.store.set(indexKey(at(id), `request-000${id}`), '{}')
    }
    const ids = (await newestRecords(ports.store)).map(({ requestId }) => requestId)
    expect([ids.length, ids[0], ids.at(-1)]).to.deep.equal([50, 'request-00059', 'request-00010'])
  })

  it('works without a bucket', async () => {
    const { run, runs } = world()
    run(1, 10, { status: 'completed', conclusion: 'success' })
    expect((await listDeploys({ runs, store: null, clock }, { limit: 5 })).deploys).to.have.length(1)
  })

  it('reads only the newest of thousands of records', async () => {
    const { store, ports } = world()
    let [gets, listed] = [0, 0]
    const counting: ObjectStore = {
      get: (key) => {
        gets += 1
        return store.get(key)
      },
      put: (key, text) => store.put(key, text),
      putIf: (key, text, etag) => store.putIf(key, text, etag),
      delete: (key) => store.delete(key),
      list: async (prefix, options) => {
        const found = await store.list(prefix, options)
        listed += found.length
        return found
      },
    }
    for (let n = 0; n < 5_000; n += 1) {
      // Ids without an order, like random ones.
      const requestId = `request-${String((n * 7919) % 5_000).padStart(4, '0')}`
      const createdAt = new Date(Date.parse('2026-01-01T00:00:00Z') + n * 60_000).toISOString()
      store.set(indexKey(createdAt, requestId), '')
      store.set(`deploys/${requestId}.json`, recordOf({ requestId, createdAt }))
    }
    const { deploys } = await listDeploys({ ...ports, store: counting }, { limit: 3 })
    const newest = [4_999, 4_998, 4_997].map((n) => `request-${String((n * 7919) % 5_000).padStart(4, '0')}`)
    expect(deploys.map(({ requestId }) => requestId)).to.deep.equal(newest)
    expect([gets, listed <= 103]).to.deep.equal([3, true])
  })

  it('finds records from before the index together with indexed ones, each once', async () => {
    const { store, record, ports } = world()
    record(1, 10)
    record(2, 20)
    store.set(indexKey(recordOf().createdAt, 'request-0002'), '')
    store.set(indexKey('2026-01-01T00:00:00Z', 'request-0002'), '')
    store.set(indexKey('2026-01-01T00:00:00Z', 'request-lost'), '')
    store.set('deploys/by-time/nonsense', '')
    const ids = (await listDeploys(ports, { limit: 5 })).deploys.map(({ requestId }) => requestId)
    expect(ids).to.have.members(['request-0001', 'request-0002'])
  })

  it('skips an invalid record, and one whose name is not a request id', async () => {
    const { run, store, ports } = world()
    run(1, 10)
    store.set('deploys/request-0001.json', '{')
    store.set('deploys/request-0002.json', { schema: 2 })
    store.set('deploys/x.json', recordOf())
    store.set('elsewhere/request-0003.json', recordOf())
    expect(
      (await listDeploys(ports, { limit: 5 })).deploys.map((deploy) => [deploy.requestId, deploy.hosts]),
    ).to.deep.equal([['request-0001', []]])
  })
})

describe('getDeploy', () => {
  it('returns the run with its record, its steps and the deploy that it waits for', async () => {
    const { run, record, runs, ports } = world()
    run(3, 30)
    run(2, 20, { status: 'in_progress' })
    record(3, 30)
    const step = { name: 'plan', status: 'in_progress', conclusion: null } as const
    runs.jobsOf.set(2, [{ name: 'deploy', steps: [step] }])
    const holder = await deployOf(ports, 'request-0002')
    expect(holder).to.deep.include({ runId: 2, status: 'running', steps: [{ job: 'deploy', ...step }] })
    expect(holder).to.deep.include({ waitsFor: null, queuePosition: null })
    const deploy = await deployOf(ports, 'request-0003')
    expect(deploy).to.deep.include({ runId: 3, status: 'queued', steps: [], queuePosition: 1 })
    expect(deploy.waitsFor).to.include({ requestId: 'request-0002' })
  })

  it('counts places in the queue from its head, in the order of the dispatches', async () => {
    const { run, ports } = world()
    run(9, 1)
    run(2, 20, { status: 'in_progress' })
    run(4, 40, { status: 'pending' })
    run(3, 30, { status: 'pending' })
    const places = await Promise.all(['3', '4', '9', '2'].map(async (id) => (await deployOf(ports, id)).queuePosition))
    expect(places).to.deep.equal([1, 2, 3, null])
  })

  it('finds a run by its own id, and a deploy without a run by its record', async () => {
    const { run, record, ports } = world()
    run(2, 20)
    record(1, 10, { status: 'succeeded' })
    expect(await deployOf(ports, '2')).to.include({ requestId: 'request-0002', runId: 2 })
    expect(await deployOf(ports, 'request-0001')).to.deep.include({ status: 'succeeded', steps: [], runId: null })
  })

  it("returns the same for a run's own id", async () => {
    const { run, record, ports } = world()
    run(2, 20, { status: 'completed', conclusion: 'failure' })
    record(2, 20, { status: 'rolled-back' })
    expect(await deployOf(ports, '2')).to.deep.equal(await deployOf(ports, 'request-0002'))
  })

  for (const id of ['request-0009', '', '../config', 'constructor']) {
    it(`finds no deploy for ${JSON.stringify(id)}`, async () => {
      const { run, ports } = world()
      run(1, 10)
      const error = await failureOf(getDeploy(ports, id))
      expect(error.code).to.equal('NOT_FOUND')
      expect(error.message).to.include(JSON.stringify(id))
    })
  }
})
