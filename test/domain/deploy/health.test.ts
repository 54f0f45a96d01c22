import { expect } from 'chai'
import fc from 'fast-check'
import type { Heartbeat } from '../../../src/lib/domain/contract/index.js'
import { consoleLines, consoleReason } from '../../../src/lib/domain/deploy/console.js'
import { type HealthFacts, isSilent, judgeHealth } from '../../../src/lib/domain/deploy/health.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { heartbeatOf, hostOf, NEW, START } from '../../support/fakes.js'

const MINUTE = 60_000
const ago = (ms: number) => new Date(Date.parse(START) - ms).toISOString()
type Gateway = NonNullable<Heartbeat['gateway']>
const gatewayOf = (change: Partial<Gateway>): Gateway => ({
  ...(heartbeatOf(hostOf('a')).gateway as Gateway),
  ...change,
})
const gateway = (change: Partial<Gateway>) => ({ gateway: gatewayOf(change) })
const channel = (connected: boolean | null, reason: string | null = null) =>
  gateway({ channels: [{ name: 'discord', connected, reason }] })

function judge(
  host: Partial<Host>,
  beat: Partial<Heartbeat> | null,
  role: 'active' | 'standby' = 'active',
  seen?: HealthFacts['seen'],
) {
  const whole = hostOf('a', { launchedAt: ago(2 * MINUTE), ...host })
  const heartbeat = beat && heartbeatOf(whole, beat)
  return judgeHealth({ host: whole, heartbeat, now: new Date(START), ...(seen ? { seen } : {}) }, role)
}

describe('judgeHealth', () => {
  type Row = [why: string, host: Partial<Host>, beat: Partial<Heartbeat> | null, health: string, fate: string]
  const failure = {
    stage: 'bundle',
    unit: 'clawdinator-bootstrap.service',
    lines: ['x', 'y', ' no such key '],
    at: START,
  } satisfies Heartbeat['failure']
  const table: Row[] = [
    ['running, checked, active', {}, {}, 'healthy', 'wait'],
    ['still pending', { state: 'pending' }, {}, 'unknown', 'wait'],
    ['stopping', { state: 'stopping' }, {}, 'unhealthy', 'final'],
    ['stopped', { state: 'stopped' }, {}, 'unhealthy', 'final'],
    ['shutting down', { state: 'shutting-down' }, {}, 'unhealthy', 'final'],
    ['failed checks, which may pass later', { checks: 'impaired' }, {}, 'unhealthy', 'wait'],
    ['checks that are not done', { checks: 'initializing' }, {}, 'unknown', 'wait'],
    ['unknown checks', { checks: 'unknown' }, {}, 'unknown', 'wait'],
    ['another booted AMI', {}, { amiId: NEW.id }, 'unhealthy', 'final'],
    ['another AMI during the checks', { checks: 'initializing' }, { amiId: NEW.id }, 'unhealthy', 'final'],
    ['a failed gateway', {}, gateway({ state: 'failed' }), 'unhealthy', 'again'],
    ['an activating gateway', {}, gateway({ state: 'activating' }), 'unknown', 'wait'],
    ['an unknown state of the gateway', {}, gateway({ state: 'ACTIVE' }), 'unknown', 'wait'],
    ['a heartbeat without the gateway', {}, { gateway: null }, 'unknown', 'wait'],
    ['a gateway that is active for a minute', {}, gateway({ activeSince: ago(MINUTE) }), 'healthy', 'wait'],
    [
      'a gateway that is active for less than a minute',
      {},
      gateway({ activeSince: ago(MINUTE - 1) }),
      'unknown',
      'wait',
    ],
    ['a gateway that is active since an unknown time', {}, gateway({ activeSince: null }), 'unknown', 'wait'],
    ['a gateway that is active since a future time', {}, gateway({ activeSince: ago(-MINUTE) }), 'unknown', 'wait'],
    ['a channel that is not connected', {}, channel(false, 'no route'), 'unhealthy', 'wait'],
    ['a channel of unknown state', {}, channel(null), 'unknown', 'wait'],
    [
      'one of two channels not connected',
      {},
      gateway({ channels: [...gatewayOf({}).channels, { name: 'x', connected: false }] }),
      'unhealthy',
      'wait',
    ],
    ['no channel', {}, gateway({ channels: [] }), 'unknown', 'wait'],
    ['channels that were not checked', {}, gateway({ probedAt: null }), 'unknown', 'wait'],
    [
      'a refused plugin',
      {},
      gateway({ plugins: [{ name: 'discord', error: 'record-missing' }] }),
      'unhealthy',
      'again',
    ],
    ['a failed stage', {}, { stage: 'bundle', stageSince: ago(MINUTE), failure }, 'unhealthy', 'wait'],
    [
      'a stage that fails for minutes',
      {},
      { stage: 'bundle', stageSince: ago(3 * MINUTE), failure },
      'unhealthy',
      'again',
    ],
    ['an earlier stage', {}, { stage: 'secrets' }, 'unknown', 'wait'],
    ['standby', {}, { stage: 'standby' }, 'unknown', 'wait'],
    ['yielded', {}, { stage: 'yielded' }, 'unhealthy', 'wait'],
    ['a heartbeat that is just fresh', {}, { at: ago(5 * MINUTE - 1) }, 'healthy', 'wait'],
    ['a stale heartbeat', {}, { at: ago(5 * MINUTE) }, 'unhealthy', 'wait'],
    ['a heartbeat without a date', {}, { at: 'yesterday' }, 'unknown', 'wait'],
    ['a heartbeat slightly ahead', {}, { at: ago(-5 * MINUTE) }, 'healthy', 'wait'],
    ['a heartbeat from the future', {}, { at: ago(-5 * MINUTE - 1) }, 'unknown', 'wait'],
    ['no heartbeat yet', {}, null, 'unknown', 'wait'],
    [
      "only another machine's heartbeat",
      {},
      { instanceId: 'i-before', ...gateway({ state: 'failed' }) },
      'unknown',
      'wait',
    ],
    ['no heartbeat at the end of the boot time', { launchedAt: ago(15 * MINUTE) }, null, 'unknown', 'wait'],
    ['no heartbeat after the boot time', { launchedAt: ago(15 * MINUTE + 1) }, null, 'unhealthy', 'wait'],
  ]
  for (const [why, host, beat, health, fate] of table) {
    it(`${why}: ${health}, ${fate}`, () => expect(judge(host, beat)).to.include({ health, fate }))
  }

  const standby: Row[] = [
    ['everything is up', {}, {}, 'healthy', 'wait'],
    ['the machine is active', {}, { stage: 'active' }, 'unknown', 'wait'],
    ['the gateway has just started', {}, gateway({ activeSince: ago(14_999) }), 'unknown', 'wait'],
    ['the gateway runs for 15 seconds', {}, gateway({ activeSince: ago(15_000) }), 'healthy', 'wait'],
    ['the token is rejected', {}, channel(false, '401'), 'unhealthy', 'again'],
    ['the token was not probed', {}, channel(null), 'unknown', 'wait'],
    ['the plugin is refused', {}, gateway({ plugins: [{ name: 'x', error: 'y' }] }), 'unhealthy', 'again'],
    ['the checks are not done', { checks: 'initializing' }, {}, 'unknown', 'wait'],
  ]
  for (const [why, host, beat, health, fate] of standby) {
    it(`in standby, ${why}: ${health}, ${fate}`, () => {
      expect(judge(host, { stage: 'standby', ...beat }, 'standby')).to.include({ health, fate })
    })
  }

  it('requires two heartbeats of one process at a gate', () => {
    const first = heartbeatOf(hostOf('a'), { at: ago(MINUTE) })
    const seen = (earlier: Heartbeat | null, restarts = 0) => judge({}, {}, 'active', { earlier, restarts })
    expect(seen(first)).to.include({ health: 'healthy' })
    expect(seen(null)).to.include({ health: 'unknown', reason: 'waiting for a second heartbeat' })
    expect(seen({ ...first, at: START }).health).to.equal('unknown')
    expect(seen({ ...first, ...gateway({ mainPid: 1 }) }).health).to.equal('unknown')
    expect(seen({ ...first, gateway: null }).health).to.equal('unknown')
    expect(judge({}, { stage: 'standby' }, 'standby', { earlier: null, restarts: 0 }).health).to.equal('healthy')
    expect(seen(first, 2).health).to.equal('healthy')
    expect(seen(first, 3)).to.include({ fate: 'final', reason: 'its gateway restarted 3 times' })
  })

  const reasons: [beat: Partial<Heartbeat>, role: 'active' | 'standby', reason: string][] = [
    [{ amiId: 'ami-b' }, 'active', `it booted ami-b, not ${hostOf('a').ami}`],
    [{ failure }, 'active', 'stage bundle fails in clawdinator-bootstrap.service: no such key'],
    [{ failure: { ...failure, unit: null, lines: [] } }, 'active', 'stage bundle fails'],
    [{ stage: 'switch', stageSince: ago(90_000) }, 'active', 'it is in stage switch for 2 minutes'],
    [{ stage: 'switch', stageSince: ago(1000) }, 'active', 'it is in stage switch for 1 second'],
    [{ stage: 'switch', stageSince: ago(999) }, 'active', 'it is in stage switch'],
    [{ stage: 'switch', stageSince: null }, 'active', 'it is in stage switch'],
    [{ stage: 'yielded' }, 'active', 'it has yielded to another machine'],
    [channel(false, 'no route'), 'active', 'discord is not connected: no route'],
    [{ stage: 'standby', ...channel(false, '401') }, 'standby', 'the token of discord is rejected: 401'],
    [channel(null, 'timeout'), 'active', 'the state of discord is unknown: timeout'],
    [gateway({ plugins: [{ name: 'x', error: 'y' }] }), 'active', 'the gateway refuses its plugin x: y'],
    [gateway({ activeSince: ago(5_000) }), 'active', 'its gateway is active for 5 seconds, of 1 minute'],
    [gateway({ activeSince: ago(1000) }), 'active', 'its gateway is active for 1 second, of 1 minute'],
    [gateway({ activeSince: ago(0) }), 'active', 'its gateway is active for under a second, of 1 minute'],
  ]
  for (const [beat, role, reason] of reasons) {
    it(`returns the reason: ${reason}`, () => expect(judge({}, beat, role).reason).to.equal(reason))
  }

  it('returns what a machine without a report waits for', () => {
    expect(judge({}, null).reason).to.equal('waiting for the first heartbeat')
    expect(judge({ checks: 'initializing' }, null).reason).to.equal("waiting for EC2's status checks")
  })

  it('is healthy only if the machine runs, passed its checks, and reports a connected gateway on its AMI', () => {
    const state = fc.constantFrom<Host['state']>('pending', 'running', 'shutting-down', 'stopping', 'stopped')
    const checks = fc.constantFrom<Host['checks']>('ok', 'initializing', 'impaired', 'unknown')
    const beat = fc.option(
      fc.record({
        state: fc.constantFrom('active', 'failed', 'activating', 'inactive'),
        connected: fc.constantFrom(true, false, null),
        stage: fc.constantFrom('active' as const, 'standby' as const, 'yielded' as const),
        amiId: fc.constantFrom(NEW.id, 'ami-other'),
        instanceId: fc.constantFrom('i-a', 'i-b'),
      }),
    )
    fc.assert(
      fc.property(state, checks, beat, (state, checks, beat) => {
        const own = beat?.amiId === NEW.id && beat.instanceId === 'i-a' && beat.stage === 'active'
        const good = own && beat.state === 'active' && beat.connected === true
        const channels = [{ name: 'discord', connected: beat?.connected ?? null }]
        const written = beat && { ...beat, ...gateway({ state: beat.state, channels }) }
        const verdict = judge({ state, checks, ami: NEW.id }, written)
        expect(verdict.health === 'healthy').to.equal(state === 'running' && checks === 'ok' && good)
        if (verdict.fate === 'final') expect(verdict.health).to.equal('unhealthy')
        expect(verdict.reason).to.not.equal('')
      }),
    )
  })
})

describe('isSilent', () => {
  type Row = [why: string, launchedAt: string, beat: Partial<Heartbeat> | null, expected: boolean]
  const long = ago(60 * MINUTE)
  const table: Row[] = [
    ['without a heartbeat', long, null, true],
    ['without one, at the end of the boot time', ago(15 * MINUTE), null, false],
    ['without one, right after the boot time', ago(15 * MINUTE + 1), null, true],
    ["with another machine's heartbeat", long, { instanceId: 'i-before' }, true],
    ['with its own heartbeat', long, {}, false],
    ['with its own heartbeat, which is just fresh', long, { at: ago(5 * MINUTE - 1) }, false],
    ['with its own heartbeat, which is stale', long, { at: ago(5 * MINUTE) }, true],
    ['with a stale heartbeat, while it boots', ago(MINUTE), { at: ago(5 * MINUTE) }, false],
  ]
  for (const [why, launchedAt, beat, expected] of table) {
    it(`${expected ? 'holds' : 'does not hold'} for a machine ${why}`, () => {
      const host = hostOf('a', { launchedAt })
      expect(isSilent(host, beat && heartbeatOf(host, beat), new Date(START))).to.equal(expected)
    })
  }
})

describe('the serial console', () => {
  it('is shown without terminal control sequences', () => {
    expect(consoleLines('a\u001b[31mb\u001b[0m\r\n\n  \u0007c\u202e \r[x')).to.deep.equal(['ab', '  c', '[x'])
    expect(consoleLines('')).to.deep.equal([])
  })

  it('gives the reason of a failure: the last line of our own units, else the last line', () => {
    expect(consoleReason('clawdinator-bootstrap: no network\nclawdinator-1 login: \nkernel: x')).to.equal(
      'clawdinator-bootstrap: no network',
    )
    expect(consoleReason('one\n  two  \n')).to.equal('two')
    expect(consoleReason('\n')).to.equal(null)
    expect(consoleReason('x'.repeat(300))).to.have.length(200)
  })
})
