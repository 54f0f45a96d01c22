import { expect } from 'chai'
import type { ActiveMachine } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { startMachine, transferRole, waitForYield } from '../../../src/lib/ops/deploy/transfer.js'
import { failureOf } from '../../support/failure.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { heartbeatOf, hostOf, registryOf, upstream } from '../../support/fakes.js'

const HOME = hostOf('a')
const OTHER = hostOf('a', { instanceId: 'i-b' })
const MINUTE = 60_000

/** One serving machine, and EC2's answers about it by its id, one after the other; the last one is repeated. */
function world(...states: (Host['state'] | 'terminated' | null)[]) {
  const plane = fakeDirectPlane(registryOf('a'), ['a'])
  const said: string[] = []
  let asked = 0
  if (states.length > 0) {
    plane.cloud.describeHost = async () => {
      const state = states[Math.min(asked, states.length - 1)] ?? null
      asked += 1
      return state === null || state === 'terminated' ? state : { ...HOME, state }
    }
  }
  return { ...plane, said, say: (clause: string) => void said.push(clause) }
}
type World = ReturnType<typeof world>

describe('transferRole', () => {
  const start = ({ ports, say }: World, from: Host, to: Host, home = HOME) =>
    transferRole({ active: null, etag: null }, { id: 'a', from, to, home, deploy: 'request-0001' }, say, ports)
  const written = ({ store }: World) =>
    store.puts
      .filter(({ key }) => key === 'active/a.json')
      .map(({ text }) => JSON.parse(text) as ActiveMachine)
      .map(({ instanceId, from }) => [instanceId, from])

  it('names no machine until the old one has stopped, then names the new one', async () => {
    const plane = world()
    const role = await start(plane, HOME, OTHER)
    expect(written(plane)).to.deep.equal([
      [NO_MACHINE, 'i-a'],
      ['i-b', 'i-a'],
    ])
    expect(role.active).to.include({ instanceId: 'i-b', deploy: 'request-0001' })
    expect(plane.said).to.deep.equal(['i-a is asked to yield', 'i-b is active'])
    expect(plane.cloud.connected('a')).to.deep.equal([])
  })

  it('moves the role without an old machine', async () => {
    const plane = world('stopped')
    await start(plane, OTHER, HOME)
    expect(written(plane)).to.deep.equal([
      [NO_MACHINE, 'i-a'],
      ['i-a', null],
    ])
  })

  for (const [from, to, predecessor] of [
    [HOME, OTHER, null],
    [OTHER, HOME, 'i-a'],
  ] as const) {
    it(`names ${from.instanceId} again if it can't be stopped`, async () => {
      const plane = world('running')
      plane.clock.ticks.length = 0
      plane.cloud.stop = async () => {
        throw upstream()
      }
      expect((await failureOf(start(plane, from, to))).code).to.equal('UPSTREAM')
      expect(written(plane)).to.deep.equal([
        [NO_MACHINE, 'i-a'],
        [from.instanceId, predecessor],
      ])
    })
  }
})

describe('a machine that has to yield', () => {
  const wait = ({ ports, say }: World, before: ReturnType<typeof heartbeatOf> | null = null) =>
    waitForYield({ id: 'a', from: HOME, before }, say, ports)
  const isYielded = heartbeatOf(HOME, { stage: 'yielded' })

  for (const state of ['stopped', 'terminated'] as const) {
    it(`is not waited for if EC2 reports it as ${state}`, async () => {
      const plane = world(state)
      await wait(plane)
      expect(plane.clock.sleeps).to.deep.equal([])
    })
  }

  it('is read four times a second, and has yielded when its heartbeat reports it', async () => {
    const plane = world('running')
    plane.clock.onSleep = (nth) => {
      if (nth === 3) plane.store.set('heartbeats/a/i-a.json', isYielded)
    }
    await wait(plane)
    expect(plane.clock.sleeps).to.deep.equal([250, 250, 250])
    expect(plane.cloud.log).to.deep.equal([])
  })

  it('is stopped by EC2 after 90 s; heartbeats from before the request do not count', async () => {
    const plane = world('running', 'shutting-down', 'stopping', 'stopping', 'stopping', 'stopping', 'stopped')
    plane.clock.ticks.length = 0
    plane.store.set('heartbeats/a/i-a.json', isYielded)
    await wait(plane, isYielded)
    expect(plane.said).to.deep.equal(['i-a has not yielded: EC2 stops it'])
    expect(plane.cloud.log).to.deep.equal(['stop i-a'])
    expect(plane.clock.elapsed).to.be.within(90_000, 100_000)
  })

  it('is waited for where the answer to the stop was lost, although EC2 got it', async () => {
    const plane = world('running', 'running', 'stopping', 'stopped')
    plane.clock.ticks.length = 0
    let isAsked = false
    plane.cloud.stop = async () => {
      throw upstream()
    }
    await waitForYield({ id: 'a', from: HOME, before: null }, plane.say, plane.ports, () => {
      isAsked = true
    })
    expect(isAsked).to.equal(true)
  })

  it('is not stopped if EC2 stopped it meanwhile', async () => {
    const plane = world('running', 'stopped')
    plane.clock.ticks.length = 0
    plane.store.objects.clear()
    await wait(plane)
    expect(plane.cloud.log).to.deep.equal([])
  })

  it('fails the transfer if EC2 has not stopped it after 5 minutes', async () => {
    const plane = world('running')
    plane.clock.ticks.length = 0
    const error = await failureOf(wait(plane))
    expect(error.code).to.equal('FENCE_FAILED')
    expect(error.message).to.equal('i-a has not yielded the role of a, and EC2 has not stopped it.')
    expect(error.hint).to.include('i-a in EC2')
    expect(plane.clock.elapsed).to.equal(90_000 + 5 * MINUTE)
    expect(Math.max(...plane.clock.sleeps)).to.equal(3_000)
  })
})

describe('a machine that has to serve again', () => {
  it('is not started if it runs', async () => {
    const plane = world('running')
    await startMachine('i-a', plane.say, plane.ports)
    expect([plane.cloud.log, plane.clock.sleeps]).to.deep.equal([[], []])
  })

  it('is started once, as soon as it has stopped', async () => {
    const plane = world('stopping', 'stopped', 'stopped', 'pending', 'running')
    plane.cloud.start = async (instanceId) => plane.say(`start ${instanceId}`)
    await startMachine('i-a', plane.say, plane.ports)
    expect(plane.said).to.deep.equal([
      'i-a is stopping',
      'start i-a',
      'i-a is stopped',
      'i-a is stopped',
      'i-a is pending',
    ])
  })

  for (const state of ['terminated', 'shutting-down'] as const) {
    it(`fails immediately if it is ${state}`, async () => {
      const plane = world(state)
      const error = await failureOf(startMachine('i-a', plane.say, plane.ports))
      expect(error.message).to.equal(`i-a could not be started again: it is ${state}.`)
      expect([plane.cloud.log, plane.clock.elapsed]).to.deep.equal([[], 0])
    })
  }

  it('fails after 5 minutes', async () => {
    const plane = world('stopped')
    const error = await failureOf(startMachine('i-a', plane.say, plane.ports))
    expect(error.code).to.equal('FENCE_FAILED')
    expect(error.message).to.equal('i-a could not be started again: i-a is stopped.')
    expect(error.hint).to.include('Start i-a in EC2')
    expect(plane.clock.elapsed).to.equal(5 * MINUTE)
    expect(Math.max(...plane.clock.sleeps)).to.equal(3_000)
    expect(plane.cloud.log).to.deep.equal(['start i-a'])
  })
})
