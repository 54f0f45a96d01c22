import { expect } from 'chai'
import type { DeployStatus, Fleet } from '../../../src/lib/domain/contract/index.js'
import { describeFleet } from '../../../src/lib/domain/deploy/fleet.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { fleetStatus } from '../../../src/lib/ops/deploy/fleetStatus.js'
import { watchFleet } from '../../../src/lib/ops/deploy/watchFleet.js'
import { failureOf } from '../../support/failure.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import {
  detailOf,
  FakeClock,
  FakeStore,
  heartbeatOf,
  hostOf,
  imageOf,
  NEW,
  registryOf,
  registrySource,
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

  it('waits for deploys that are queued or running, where it can see them', async () => {
    const clock = new FakeClock()
    const statuses: DeployStatus[] = ['queued', 'running', 'succeeded']
    const fleet = async () => fleetWith('running')
    const deploys = async () => [detailOf({ status: statuses.shift() ?? 'succeeded' })]
    await watchFleet({ plane: { fleet, deploys }, clock, show: () => {} }, MINUTE)
    expect(clock.sleeps).to.deep.equal([500, 750])
    const blind = async () => {
      throw new ClawctlError('NOT_CONFIGURED', 'GITHUB_TOKEN is not set.')
    }
    expect(await watchFleet({ plane: { fleet, deploys: blind }, clock, show: () => {} }, MINUTE)).to.deep.equal(
      fleetWith('running'),
    )
  })

  it('shows it again only where it changed, until it settles', async () => {
    const { clock, shown, result } = watch(fleetWith('pending'), fleetWith('pending'), fleetWith('stopped'))
    await result
    expect(shown.map((fleet) => fleet.instances[0]?.state)).to.deep.equal(['pending', 'stopped'])
    expect(clock.sleeps).to.deep.equal([500, 750])
  })

  it('ends when the time is up, with the fleet as it is', async () => {
    const { clock, result } = watch(fleetWith('pending'))
    const error = await failureOf(result)
    expect([error.code, clock.elapsed]).to.deep.equal(['TIMED_OUT', MINUTE])
    expect(error.message).to.include('after 1 minute')
    expect(error.partial).to.deep.equal({ fleet: fleetWith('pending') })
  })
})

describe('fleetStatus of the ports', () => {
  function world() {
    const clock = new FakeClock()
    const store = new FakeStore()
    const compute = new FakeCloud(store, clock)
    return { store, compute, ports: { clock, store, compute, registry: registrySource(registryOf('a', 'b')) } }
  }

  it('joins registry, EC2, images and heartbeats', async () => {
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
    it(`takes the heartbeat ${bad.slice(0, 20)} for none`, async () => {
      const { compute, store, ports } = world()
      compute.add(hostOf('a', { launchedAt: ports.clock.now().toISOString() }))
      store.set('heartbeats/a/i-a.json', bad)
      expect((await fleetStatus(ports)).instances[0]).to.include({ health: 'unknown', revision: null })
    })
  }

  it('does not build a key out of an id of the wrong form', async () => {
    const { compute, store, ports } = world()
    const asked: string[] = []
    const { get } = store
    store.get = async (key) => {
      asked.push(key)
      return get.call(store, key)
    }
    const hosts = [hostOf('../deploys/x'), hostOf('z')]
    compute.describeHosts = async () => hosts
    for (const { id } of hosts) store.set(`heartbeats/${id}/i-${id}.json`, {})
    expect((await fleetStatus(ports)).instances).to.have.length(4)
    expect(asked).to.have.members(['heartbeats/z/i-z.json', 'control/freeze.json'])
  })

  it('does not know the health of anything without a bucket', async () => {
    const { compute, ports } = world()
    compute.add(hostOf('a'))
    expect((await fleetStatus({ ...ports, store: null })).instances[0]?.health).to.equal('unknown')
  })
})
