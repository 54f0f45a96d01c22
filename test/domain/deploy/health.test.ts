import { expect } from 'chai'
import fc from 'fast-check'
import type { Heartbeat } from '../../../src/lib/domain/contract/index.js'
import { judgeHealth } from '../../../src/lib/domain/deploy/health.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { heartbeatOf, hostOf, NEW, START } from '../../support/fakes.js'

const MINUTE = 60_000
const ago = (ms: number) => new Date(Date.parse(START) - ms).toISOString()

function judge(host: Partial<Host>, beat: Partial<Heartbeat> | null) {
  const whole = hostOf('a', { launchedAt: ago(2 * MINUTE), ...host })
  const heartbeat = beat && heartbeatOf(whole, beat)
  return judgeHealth({ host: whole, heartbeat, now: new Date(START) })
}

describe('judgeHealth', () => {
  type Row = [why: string, host: Partial<Host>, beat: Partial<Heartbeat> | null, health: string, terminal: boolean]
  const table: Row[] = [
    ['running, checked, active', {}, {}, 'healthy', false],
    ['still pending', { state: 'pending' }, {}, 'unknown', false],
    ['stopping', { state: 'stopping' }, {}, 'unhealthy', true],
    ['stopped', { state: 'stopped' }, {}, 'unhealthy', true],
    ['shutting down', { state: 'shutting-down' }, {}, 'unhealthy', true],
    ['failed checks may pass later', { checks: 'impaired' }, {}, 'unhealthy', false],
    ['checks not done', { checks: 'initializing' }, {}, 'unknown', false],
    ['checks not known', { checks: 'unknown' }, {}, 'unknown', false],
    ['booted another AMI', {}, { amiId: NEW.id }, 'unhealthy', true],
    ['another AMI while the checks run', { checks: 'initializing' }, { amiId: NEW.id }, 'unhealthy', true],
    ['gateway failed', {}, { service: 'failed' }, 'unhealthy', true],
    ['gateway activating', {}, { service: 'activating' }, 'unknown', false],
    ['gateway inactive', {}, { service: 'inactive' }, 'unknown', false],
    ['a word nobody knows is not active', {}, { service: 'ACTIVE' }, 'unknown', false],
    ['heartbeat just fresh', {}, { at: ago(5 * MINUTE - 1) }, 'healthy', false],
    ['heartbeat stale', {}, { at: ago(5 * MINUTE) }, 'unhealthy', false],
    ['heartbeat without a date', {}, { at: 'yesterday' }, 'unhealthy', false],
    ['no heartbeat yet', {}, null, 'unknown', false],
    ["another instance's heartbeat is none", {}, { instanceId: 'i-before' }, 'unknown', false],
    ["another instance's failed gateway is none", {}, { instanceId: 'i-before', service: 'failed' }, 'unknown', false],
    ['no heartbeat at the end of the grace', { launchedAt: ago(15 * MINUTE) }, null, 'unknown', false],
    ['no heartbeat after the grace', { launchedAt: ago(15 * MINUTE + 1) }, null, 'unhealthy', false],
  ]
  for (const [why, host, beat, health, terminal] of table) {
    it(`${why}: ${terminal ? 'for good ' : ''}${health}`, () => {
      expect(judge(host, beat)).to.include({ health, terminal })
    })
  }

  it('says which AMI booted instead of which', () => {
    expect(judge({ ami: 'ami-a' }, { amiId: 'ami-b' }).reason).to.equal('it booted ami-b, not ami-a')
  })

  it('calls healthy only what runs, is checked, and says of itself that it is active on its AMI', () => {
    const state = fc.constantFrom<Host['state']>('pending', 'running', 'shutting-down', 'stopping', 'stopped')
    const checks = fc.constantFrom<Host['checks']>('ok', 'initializing', 'impaired', 'unknown')
    const beat = fc.option(
      fc.record({
        service: fc.constantFrom('active', 'failed', 'activating', 'inactive'),
        amiId: fc.constantFrom(NEW.id, 'ami-other'),
        instanceId: fc.constantFrom('i-a', 'i-b'),
      }),
    )
    fc.assert(
      fc.property(state, checks, beat, (state, checks, beat) => {
        const good = beat?.service === 'active' && beat.amiId === NEW.id && beat.instanceId === 'i-a'
        const verdict = judge({ state, checks, ami: NEW.id }, beat)
        expect(verdict.health === 'healthy').to.equal(state === 'running' && checks === 'ok' && good)
        if (verdict.terminal) expect(verdict.health).to.equal('unhealthy')
        expect(verdict.reason).to.not.equal('')
      }),
    )
  })
})
