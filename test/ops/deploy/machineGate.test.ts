import { expect } from 'chai'
import type { Heartbeat } from '../../../src/lib/domain/contract/index.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { type Gate, machineGate } from '../../../src/lib/ops/deploy/machineGate.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import { FakeClock, FakeStore, heartbeatOf, hostOf } from '../../support/fakes.js'

const MINUTE = 60_000
const HOST = hostOf('a')
type Beat = Partial<Heartbeat> | null
type Gateway = NonNullable<Heartbeat['gateway']>

/** EC2's list and the machine's heartbeats, minute by minute; the last of both is repeated. */
function world(beats: Beat[], hosts: Host[][] = [[HOST]]) {
  const clock = new FakeClock()
  const store = new FakeStore()
  const cloud = new FakeCloud(store, clock)
  clock.ticks.length = 0
  const nth = <T>(all: T[]) => all[Math.min(Math.floor(clock.elapsed / MINUTE), all.length - 1)] as T
  cloud.describeHosts = async () => nth(hosts)
  store.get = async () => {
    const beat = nth(beats)
    return beat && { text: JSON.stringify(heartbeatOf(HOST, { at: clock.now().toISOString(), ...beat })), etag: '' }
  }
  const said: string[] = []
  const gate = (change: Partial<Gate> = {}) =>
    machineGate(
      { compute: cloud, store, clock },
      { id: 'a', instanceId: 'i-a', role: 'active', timeoutMs: 10 * MINUTE, ...change },
      (clause) => void said.push(clause),
    )
  return { clock, cloud, said, gate }
}
/** Heartbeats of a timer that writes each minute. */
const beat = (minute: number, change: Partial<Gateway> = {}, more: Partial<Heartbeat> = {}): Beat => ({
  at: new Date(Date.parse('2026-03-01T12:00:00.000Z') + minute * MINUTE).toISOString(),
  gateway: { ...(heartbeatOf(HOST).gateway as Gateway), ...change },
  ...more,
})

describe('machineGate', () => {
  it('accepts a standby after one heartbeat, and an active machine after two of one process', async () => {
    const standby = world([beat(0, {}, { stage: 'standby' })])
    expect(await standby.gate({ role: 'standby' })).to.deep.equal({ passed: true, host: HOST })
    expect(standby.clock.elapsed).to.equal(0)
    const active = world([beat(0), beat(1)])
    expect(await active.gate()).to.deep.equal({ passed: true, host: HOST })
    expect(active.clock.elapsed).to.be.within(MINUTE, MINUTE + 10_000)
    expect(new Set(active.said)).to.deep.equal(new Set(['waiting for a second heartbeat']))
    const restarted = world([beat(0), beat(1, { mainPid: 701 }), beat(2, { mainPid: 701 })])
    expect(await restarted.gate()).to.include({ passed: true })
    expect(restarted.clock.elapsed).to.be.at.least(2 * MINUTE)
  })

  it('counts the restarts since the first heartbeat that reports them', async () => {
    const restarts = (minute: number, restarts: number | null) => beat(minute, { restarts, mainPid: restarts })
    const failed = await world([restarts(0, null), restarts(1, 5), restarts(2, 8)]).gate()
    expect(failed).to.deep.equal({ passed: false, host: HOST, reason: 'its gateway restarted 3 times' })
    const passed = await world([restarts(0, 5), restarts(1, 7), restarts(2, 7)]).gate()
    expect(passed).to.include({ passed: true })
  })

  it('does not count a heartbeat of an inactive gateway as the first of two', async () => {
    const { gate, clock } = world([beat(0, { state: 'activating' }), beat(1), beat(2)])
    expect(await gate()).to.include({ passed: true })
    expect(clock.elapsed).to.be.at.least(2 * MINUTE)
  })

  it('fails with the second heartbeat that reports the same, not with the first one read twice', async () => {
    const failed = { state: 'failed' }
    const { gate, clock } = world([beat(0, failed), beat(1, failed)])
    expect(await gate()).to.deep.equal({ passed: false, host: HOST, reason: 'its gateway is failed' })
    expect(clock.elapsed).to.be.within(MINUTE, MINUTE + 10_000)
  })

  it('starts again if a different heartbeat came between', async () => {
    const failed = { state: 'failed' }
    const refused = { plugins: [{ name: 'x', error: 'y' }] }
    for (const between of [refused, { state: 'activating' }]) {
      const { gate, clock } = world([beat(0, failed), beat(1, between), beat(2, failed), beat(3, failed)])
      expect(await gate()).to.include({ passed: false, reason: 'its gateway is failed' })
      expect(clock.elapsed).to.be.at.least(3 * MINUTE)
    }
  })

  it('waits two minutes for a machine that EC2 does not show yet, and one more until it counts as gone', async () => {
    const { gate, clock, said, cloud } = world([null], [[]])
    cloud.describeHost = async () => null
    expect(await gate()).to.deep.equal({ passed: false, host: null, reason: 'i-a was terminated' })
    expect(clock.elapsed).to.be.within(3 * MINUTE, 3 * MINUTE + 10_000)
    expect(new Set(said)).to.deep.equal(new Set(['EC2 does not show i-a yet']))
    const late = world([beat(0), beat(1), beat(2)], [[], [HOST]])
    expect(await late.gate()).to.include({ passed: true })
  })

  it('fails immediately if a machine that was shown is terminated', async () => {
    const { gate, clock, cloud } = world([null], [[hostOf('b'), HOST], []])
    cloud.describeHost = async () => 'terminated'
    expect(await gate()).to.deep.equal({ passed: false, host: HOST, reason: 'i-a was terminated' })
    expect(clock.elapsed).to.be.within(MINUTE, MINUTE + 10_000)
  })

  it("continues if only EC2's list lacks a machine", async () => {
    const { gate, said, cloud } = world([beat(0), beat(1), beat(2)], [[HOST], [], [HOST]])
    cloud.describeHost = async () => HOST
    expect(await gate()).to.include({ passed: true })
    expect(said).to.include('EC2 does not list i-a')
  })

  it('reports the time, and what it waited for last', async () => {
    const { gate, clock } = world([null])
    const launched = { ...HOST, launchedAt: clock.now().toISOString() }
    const early = world([null], [[launched]])
    const reason = (role: 'active' | 'standby') => early.gate({ timeoutMs: MINUTE, role })
    expect(await reason('active')).to.include({ reason: 'not healthy after 1 minute: waiting for the first heartbeat' })
    expect(await reason('standby')).to.include({ reason: 'not ready after 1 minute: waiting for the first heartbeat' })
    expect(Math.max(...early.clock.sleeps)).to.equal(10_000)
    const blind = world([null])
    blind.cloud.describeHosts = async () => {
      throw new ClawctlError('UPSTREAM', 'ec2.example does not answer.')
    }
    expect(await blind.gate({ timeoutMs: MINUTE })).to.deep.equal({
      passed: false,
      host: null,
      reason: 'not healthy after 1 minute: ec2.example does not answer',
    })
    expect(await gate({ timeoutMs: MINUTE })).to.include({ reason: 'not healthy after 1 minute: no heartbeat' })
  })
})
