import { expect } from 'chai'
import { type FleetInstance, fleetSchema } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import { describeFleet, type FleetFacts, isSettled, orphanIds } from '../../../src/lib/domain/deploy/fleet.js'
import { currentHost } from '../../../src/lib/domain/deploy/host.js'
import { heartbeatOf, hostOf, imageOf, NEW, OLD, registryOf, START } from '../../support/fakes.js'

const facts = (change: Partial<FleetFacts>): FleetFacts => ({
  registry: registryOf('a', 'b'),
  hosts: [],
  images: [imageOf(OLD), imageOf(NEW)],
  heartbeats: new Map(),
  now: new Date(START),
  ...change,
})
const rows = (change: Partial<FleetFacts>) => describeFleet(facts(change)).instances

describe('describeFleet', () => {
  it("shows the registry's entries in order, then other ids in EC2", () => {
    const hosts = [hostOf('z'), hostOf('b'), hostOf('m'), hostOf('a')]
    const instances = rows({ registry: registryOf('b', 'a'), hosts })
    expect(instances.map(({ id, state }) => `${id} ${state}`)).to.deep.equal([
      'b running',
      'a running',
      'm orphan',
      'z orphan',
    ])
  })

  it('shows every field of a running host', () => {
    const host = hostOf('a', { ami: NEW.id })
    const [row] = rows({ hosts: [host], heartbeats: new Map([['i-a', heartbeatOf(host)]]) })
    expect(row).to.deep.equal({
      id: 'a',
      state: 'running',
      instanceId: 'i-a',
      ami: NEW.id,
      amiStatus: 'latest',
      instanceType: 't3.large',
      publicIp: '198.51.100.7',
      launchedAt: host.launchedAt,
      health: 'healthy',
      reason: 'running, checks passed, gateway connected',
      stage: 'active',
      revision: 'abc1234',
      beside: null,
    })
  })

  it('shows only the id of a missing host', () => {
    const { id, state, amiStatus, health, ...rest } = rows({})[0] ?? {}
    expect([id, state, amiStatus, health]).to.deep.equal(['a', 'missing', 'unknown', 'unknown'])
    expect(new Set(Object.values(rest))).to.deep.equal(new Set([null]))
  })

  for (const state of ['pending', 'running', 'stopping', 'stopped'] as const) {
    it(`passes on the state ${state}`, () => {
      expect(rows({ hosts: [hostOf('a', { state })] })[0]).to.include({ id: 'a', state })
    })
  }

  it('treats a host that is shutting down as gone', () => {
    const hosts = [hostOf('a', { state: 'shutting-down' }), hostOf('z', { state: 'shutting-down' })]
    expect(rows({ hosts }).map(({ id, state }) => `${id} ${state}`)).to.deep.equal(['a missing', 'b missing'])
  })

  const bad = imageOf(NEW, { failedIn: 'request-0007' })
  const arm = imageOf({ ...NEW, id: 'ami-arm' }, { architecture: 'arm64', createdAt: '2026-03-01T00:00:00.000Z' })
  const amis: [why: string, ami: string, images: FleetFacts['images'], status: string, latest: string | null][] = [
    ['the newest image', NEW.id, [imageOf(OLD), imageOf(NEW)], 'latest', NEW.id],
    ['an older image than the newest', OLD.id, [imageOf(OLD), imageOf(NEW)], 'stale', NEW.id],
    ['no image', OLD.id, [], 'unknown', null],
    ['the newest image without a failed deploy', OLD.id, [imageOf(OLD), bad], 'latest', OLD.id],
    ['a failed image', NEW.id, [imageOf(OLD), bad], 'failed', OLD.id],
    ['the newest image of its architecture', NEW.id, [imageOf(NEW), arm], 'latest', 'ami-arm'],
    [
      'the newest image that is not withdrawn',
      OLD.id,
      [imageOf(OLD), imageOf(NEW, { ready: 'withdrawn' })],
      'latest',
      OLD.id,
    ],
    ['the newest available image', OLD.id, [imageOf(OLD), imageOf(NEW, { available: false })], 'latest', OLD.id],
  ]
  for (const [why, ami, images, amiStatus, latest] of amis) {
    it(`compares the AMI of a running host with ${why}: ${amiStatus}`, () => {
      const fleet = describeFleet(facts({ hosts: [hostOf('a', { ami }), hostOf('z', { ami })], images }))
      expect(fleet.latestAmi?.id ?? null).to.equal(latest)
      expect(fleet.instances.flatMap((i) => (i.ami ? [i.amiStatus] : []))).to.deep.equal([amiStatus, amiStatus])
    })
  }

  it('names the newest failed image, with its deploy', () => {
    expect(describeFleet(facts({ images: [imageOf(OLD), bad] })).failedAmi).to.deep.equal({
      ...NEW,
      requestId: 'request-0007',
    })
    expect(describeFleet(facts({ images: [imageOf(OLD, { failedIn: 'x' }), imageOf(NEW)] })).failedAmi).to.equal(null)
  })

  describe('of an id with two machines', () => {
    const old = hostOf('a')
    const young = hostOf('a', { instanceId: 'i-2', ami: NEW.id, slot: 'b', launchedAt: '2026-03-01T11:59:00.000Z' })
    const active = (instanceId: string, from: string | null = null) =>
      new Map([['a', { schema: 1 as const, id: 'a', instanceId, from, at: START }]])
    const heartbeats = new Map([
      ['i-a', heartbeatOf(old)],
      ['i-2', heartbeatOf(young, { stage: 'standby' })],
    ])
    const row = (change: Partial<FleetFacts>) => rows({ hosts: [young, old], heartbeats, ...change })[0]

    it('shows the serving machine, and the candidate as its second machine', () => {
      const shown = row({ active: active('i-a') })
      expect(shown).to.include({ instanceId: 'i-a', health: 'healthy' })
      expect(shown?.beside).to.deep.equal({
        role: 'candidate',
        instanceId: 'i-2',
        ami: NEW.id,
        health: 'healthy',
        reason: 'ready to take over',
        stage: 'standby',
      })
    })

    it('shows the serving machine, and the old machine as its second machine', () => {
      const shown = row({ active: active('i-2', 'i-a') })
      expect(shown).to.include({ instanceId: 'i-2', health: 'unknown', reason: 'it is in stage standby' })
      expect(shown?.beside).to.include({ role: 'predecessor', instanceId: 'i-a' })
    })

    it('shows the previous holder while no machine has the role', () => {
      expect(row({ active: active(NO_MACHINE, 'i-a') })).to.include({ instanceId: 'i-a' })
    })

    it('shows the candidate if the named machine is gone', () => {
      expect(rows({ hosts: [young], heartbeats, active: active('i-gone') })[0]).to.include({ instanceId: 'i-2' })
    })
  })

  it('shows a second machine of an id as an orphan, without the heartbeat of the first', () => {
    const serving = hostOf('a', { instanceId: 'i-2', launchedAt: '2026-02-03T00:00:00Z' })
    const other = hostOf('a', { instanceId: 'i-1', launchedAt: '2026-02-02T00:00:00Z' })
    const instances = rows({ hosts: [other, serving], heartbeats: new Map([['i-1', heartbeatOf(other)]]) })
    expect(instances.map((i) => [i.id, i.state, i.instanceId, i.health, i.revision])).to.deep.equal([
      ['a', 'running', 'i-1', 'healthy', 'abc1234'],
      ['b', 'missing', null, 'unknown', null],
      ['a', 'orphan', 'i-2', 'unhealthy', null],
    ])
  })

  it('matches the contract', () => {
    const fleet = describeFleet(facts({ hosts: [hostOf('a'), hostOf('z', { publicIp: null })], images: [] }))
    expect(fleetSchema.parse(fleet)).to.deep.equal(fleet)
  })
})

describe('currentHost', () => {
  it('chooses the serving machine: a running one first, then the youngest', () => {
    const young = { launchedAt: '2026-02-09T00:00:00Z' }
    const host = (instanceId: string, change: object) => hostOf('a', { instanceId, ...change })
    const stopped = host('i-stopped', { state: 'stopped', ...young })
    const pending = host('i-pending', { state: 'pending', ...young })
    const old = host('i-old', {})
    const latest = host('i-young', young)
    expect(currentHost([stopped, pending, old, latest], 'a')?.instanceId).to.equal('i-young')
    expect(currentHost([stopped, pending, old], 'a')?.instanceId).to.equal('i-old')
    expect(currentHost([stopped, pending], 'a')?.instanceId).to.equal('i-pending')
    expect(currentHost([host('i-gone', { state: 'shutting-down' })], 'a')).to.equal(undefined)
    expect(currentHost([latest], 'b')).to.equal(undefined)
  })
})

describe('orphanIds', () => {
  it('names each id once, sorted, without machines that are shutting down', () => {
    const hosts = ['z', 'a', 'm', 'z'].map((id) => hostOf(id))
    expect(orphanIds(registryOf('a'), [...hosts, hostOf('q', { state: 'shutting-down' })])).to.deep.equal(['m', 'z'])
  })
})

describe('isSettled', () => {
  const launched = Date.parse(hostOf('a').launchedAt)
  const minutesLater = (minutes: number) => new Date(launched + minutes * 60_000)
  const settled = (state: FleetInstance['state'], health: 'healthy' | 'unhealthy' | 'unknown', minutes: number) => {
    const instances = rows({ hosts: [hostOf('a')] }).map((row) => ({ ...row, state, health }))
    return isSettled({ latestAmi: null, instances }, minutesLater(minutes))
  }
  const table: [FleetInstance['state'], 'healthy' | 'unhealthy' | 'unknown', number, boolean][] = [
    ['running', 'healthy', 1, true],
    ['running', 'unhealthy', 1, true],
    ['running', 'unknown', 1, false],
    ['running', 'unknown', 16, true],
    ['pending', 'unknown', 1, false],
    ['stopping', 'unhealthy', 1, false],
    ['stopped', 'unhealthy', 1, true],
    ['missing', 'unknown', 1, true],
    ['orphan', 'unknown', 1, true],
  ]
  for (const [state, health, minutes, expected] of table) {
    it(`${state} and ${health} after ${minutes} min: ${expected ? 'settled' : 'not yet'}`, () => {
      expect(settled(state, health, minutes)).to.equal(expected)
    })
  }

  it('waits for every instance', () => {
    const [first, second] = rows({ hosts: [hostOf('a', { state: 'pending' })] })
    const both = { latestAmi: null, instances: [second, first].filter((row) => row !== undefined) }
    expect(isSettled(both, minutesLater(1))).to.equal(false)
  })
})
