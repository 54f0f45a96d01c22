import { expect } from 'chai'
import type { DeployRecord, DeployStatus, Fleet } from '../../../src/lib/domain/contract/index.js'
import { describeFleet } from '../../../src/lib/domain/deploy/fleet.js'
import { indexKey, type Run, recordKey } from '../../../src/lib/domain/deploy/run.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { fleetStatus } from '../../../src/lib/ops/deploy/fleetStatus.js'
import { watchFleet } from '../../../src/lib/ops/deploy/watchFleet.js'
import { failureOf } from '../../support/failure.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import {
  detailOf,
  FakeClock,
  FakeRuns,
  FakeStore,
  heartbeatOf,
  hostOf,
  imageOf,
  NEW,
  recordOf,
  registryOf,
  registrySource,
  runOf,
  START,
  upstream,
} from '../../support/fakes.js'

const MINUTE = 60_000
const fleetWith = (state: 'running' | 'pending' | 'stopped'): Fleet =>
  describeFleet({
    registry: registryOf('a'),
    hosts: [hostOf('a', { state })],
    images: [imageOf(NEW)],
    heartbeats: new Map(),
    now: new FakeClock().now(),
  })

describe('watchFleet', () => {
  function watch(...answers: Fleet[]) {
    const clock = new FakeClock()
    const shown: Fleet[] = []
    let asked = 0
    const fleet = async () => structuredClone(answers[Math.min(asked++, answers.length - 1)] as Fleet)
    const result = watchFleet(
      { plane: { fleet, deploys: async () => [] }, clock, show: (f) => void shown.push(f) },
      MINUTE,
    )
    return { clock, shown, result }
  }

  it('shows a settled fleet once and ends', async () => {
    const { clock, shown, result } = watch(fleetWith('running'))
    expect(await result).to.deep.equal(fleetWith('running'))
    expect([shown.length, clock.elapsed]).to.deep.equal([1, 0])
  })

  it('waits for queued and running deploys, if it can read them', async () => {
    const clock = new FakeClock()
    const statuses: DeployStatus[] = ['queued', 'running', 'succeeded']
    const fleet = async () => fleetWith('running')
    const deploys = async () => [detailOf({ status: statuses.shift() ?? 'succeeded' })]
    await watchFleet({ plane: { fleet, deploys }, clock, show: () => {} }, MINUTE)
    expect(clock.sleeps).to.deep.equal([500, 750])
    const busy = async () => [detailOf({ status: 'running' })]
    const late = await failureOf(watchFleet({ plane: { fleet, deploys: busy }, clock, show: () => {} }, MINUTE))
    expect(late.message).to.include('a deploy is queued or running.')
    const denied = async () => Promise.reject(new ClawctlError('DENIED', 'No.'))
    const refused = watchFleet({ plane: { fleet, deploys: denied }, clock, show: () => {} }, MINUTE)
    expect((await failureOf(refused)).code).to.equal('DENIED')
    const blind = async () => {
      throw new ClawctlError('NOT_CONFIGURED', 'GITHUB_TOKEN is not set.')
    }
    expect(await watchFleet({ plane: { fleet, deploys: blind }, clock, show: () => {} }, MINUTE)).to.deep.equal(
      fleetWith('running'),
    )
  })

  it('shows the fleet again only after a change, until it settles', async () => {
    const { clock, shown, result } = watch(fleetWith('pending'), fleetWith('pending'), fleetWith('stopped'))
    await result
    expect(shown.map((fleet) => fleet.instances[0]?.state)).to.deep.equal(['pending', 'stopped'])
    expect(clock.sleeps).to.deep.equal([500, 750])
  })

  it('ends at its time limit, with the current fleet', async () => {
    const { clock, result } = watch(fleetWith('pending'))
    const error = await failureOf(result)
    expect([error.code, clock.elapsed]).to.deep.equal(['TIMED_OUT', MINUTE])
    expect(error.message).to.include('after 1 minute: instances are in transition.')
    expect(error.partial).to.deep.equal({ fleet: fleetWith('pending') })
  })
})

describe('fleetStatus of the ports', () => {
  function world() {
    const clock = new FakeClock()
    const store = new FakeStore()
    const compute = new FakeCloud(store, clock)
    const runs = new FakeRuns()
    const registry = registrySource(registryOf('a', 'b'))
    return { store, compute, runs, ports: { clock, store, compute, runs, registry } }
  }

  it('combines registry, EC2, images and heartbeats', async () => {
    const { compute, ports } = world()
    compute.add(hostOf('a', { ami: NEW.id }))
    const fleet = await fleetStatus(ports)
    expect(fleet.latestAmi?.id).to.equal(NEW.id)
    expect(fleet.instances.map((i) => [i.id, i.state, i.health])).to.deep.equal([
      ['a', 'running', 'healthy'],
      ['b', 'missing', 'unknown'],
    ])
  })

  for (const bad of ['{', 'null', '{}', JSON.stringify({ ...heartbeatOf(hostOf('a')), stage: 1 })]) {
    it(`ignores the heartbeat ${bad.slice(0, 20)}`, async () => {
      const { compute, store, ports } = world()
      compute.add(hostOf('a', { launchedAt: ports.clock.now().toISOString() }))
      store.set('heartbeats/a/i-a.json', bad)
      const { instances, sources } = await fleetStatus(ports)
      expect(instances[0]).to.include({ health: 'unknown', revision: null })
      expect(sources?.heartbeats).to.equal('read')
    })
  }

  it('does not build a key from an id of the wrong form', async () => {
    const { compute, store, ports } = world()
    const asked: string[] = []
    const { get } = store
    store.get = async (key) => {
      asked.push(key)
      return get.call(store, key)
    }
    const second = (id: string) => hostOf(id, { instanceId: `i-${id}-2` })
    const leaving = hostOf('y', { instanceId: 'i-y-2', state: 'shutting-down' })
    const hosts = [...['../deploys/x', 'z'].flatMap((id) => [hostOf(id), second(id)]), hostOf('y'), leaving]
    compute.describeHosts = async () => hosts
    for (const { id } of hosts) store.set(`heartbeats/${id}/i-${id}.json`, {})
    const { instances, sources } = await fleetStatus(ports)
    expect([instances.length, sources?.active]).to.deep.equal([7, 'read'])
    const keys = ['heartbeats/z/i-z.json', 'heartbeats/y/i-y.json', 'active/z.json', 'control/freeze.json']
    expect(asked).to.have.members(keys)
  })

  describe('names the running deploy', () => {
    const running = (n: number, status: DeployRecord['status'] = 'running', runId: number | null = n) =>
      recordOf({
        ...{ requestId: `request-000${n}`, target: 'a', status, runId },
        createdAt: new Date(Date.parse(START) + n * MINUTE).toISOString(),
      })
    const run = (n: number, status: Run['status']) => runOf(n, { title: `fleet deploy a [request-000${n}]`, status })
    const one = { requestId: 'request-0001', target: 'a' }
    const table: [why: string, records: DeployRecord[], runs: Run[] | 'out', found: Fleet['deploying']][] = [
      ['while its run goes on by GitHub', [running(1)], [run(1, 'in_progress')], one],
      ['but not if GitHub reports its run as completed', [running(1)], [run(1, 'completed')], null],
      ['but not if its run was started again since', [running(1)], [{ ...run(1, 'in_progress'), attempt: 2 }], null],
      ['if GitHub does not answer', [running(1)], 'out', one],
      ['if it has no run', [running(1, 'running', null)], [], one],
      ['behind a refused one', [running(1), running(2, 'failed')], [run(1, 'in_progress')], one],
      ['behind a plan-only one', [running(1), running(2, 'planned')], [run(1, 'in_progress')], one],
      ['but not behind one that changed the fleet', [running(1), running(2, 'succeeded')], 'out', null],
    ]
    for (const [why, records, runs, found] of table) {
      it(why, async () => {
        const { store, runs: github, ports } = world()
        for (const record of records) {
          store.set(recordKey(record.requestId), record)
          store.set(indexKey(record.createdAt, record.requestId), {})
        }
        if (runs === 'out') github.find = async () => Promise.reject(upstream())
        else github.runs = runs
        const asked: unknown[] = []
        const find = github.find.bind(github)
        github.find = (id) => {
          asked.push(id)
          return find(id)
        }
        const { deploying, sources } = await fleetStatus(ports)
        expect([deploying, sources?.deploys]).to.deep.equal([found, 'read'])
        const running = records.filter(({ status, runId }) => status === 'running' && runId !== null)
        expect(running.map(({ runId }) => runId)).to.include.members(asked)
      })
    }

    it('reads only the five newest records', async () => {
      const { store, ports } = world()
      for (const record of [running(1), ...[2, 3, 4, 5, 6, 7].map((n) => running(n, 'failed'))]) {
        store.set(recordKey(record.requestId), record)
        store.set(indexKey(record.createdAt, record.requestId), {})
      }
      const read: string[] = []
      const { get } = store
      store.get = async (key) => {
        read.push(key)
        return get.call(store, key)
      }
      expect((await fleetStatus(ports)).deploying).to.equal(null)
      const records = [7, 6, 5, 4, 3].map((n) => recordKey(`request-000${n}`))
      expect(read.filter((key) => key.startsWith('deploys/'))).to.have.members(records)
    })

    it('works without a credential for GitHub, and skips an entry without a record', async () => {
      const { store, ports } = world()
      store.set(recordKey('request-0001'), running(1))
      store.set(indexKey(START, 'request-0001'), {})
      store.set(indexKey('2026-03-02T12:00:00Z', 'request-lost'), {})
      expect((await fleetStatus({ ...ports, runs: null })).deploying).to.deep.equal(one)
    })
  })

  it('finds the serving one of two machines by the object of the active machine', async () => {
    const { compute, store, ports } = world()
    compute.add(hostOf('a'))
    compute.addUnmanaged(hostOf('a', { instanceId: 'i-new', slot: 'b', launchedAt: START }))
    const active = { schema: 1, id: 'a', instanceId: 'i-new', from: 'i-a', deploy: 'request-0001', at: START }
    store.set('active/a.json', active)
    const [first] = (await fleetStatus(ports)).instances
    expect([first?.instanceId, first?.beside?.role, first?.beside?.instanceId]).to.deep.equal([
      ...['i-new', 'predecessor', 'i-a'],
    ])
  })

  it('shows the rest if a source does not answer, and names the source', async () => {
    const { compute, store, ports } = world()
    compute.add(hostOf('a'))
    const away = async () => Promise.reject(upstream())
    const registry = { read: away }
    compute.fleetImages = away
    store.list = away
    const { instances, sources } = await fleetStatus({ ...ports, registry })
    expect(instances.map(({ id, health }) => `${id} ${health}`)).to.deep.equal(['a unknown'])
    const missing = Object.entries(sources ?? {}).filter(([, source]) => source === 'unavailable')
    expect(missing.map(([name]) => name)).to.have.members(['registry', 'images', 'heartbeats', 'deploys'])
  })

  it('fails if the registry is invalid', async () => {
    const registry = { read: async () => ({ text: '{', origin: 'nix/instances.json' }) }
    expect((await failureOf(fleetStatus({ ...world().ports, registry }))).code).to.equal('INVALID_REGISTRY')
  })

  it('reports unknown health for every instance without a bucket', async () => {
    const { compute, ports } = world()
    compute.add(hostOf('a'))
    expect((await fleetStatus({ ...ports, store: null })).instances[0]?.health).to.equal('unknown')
  })
})
