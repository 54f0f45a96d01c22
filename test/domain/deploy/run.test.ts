import { expect } from 'chai'
import { deploySchema } from '../../../src/lib/domain/contract/index.js'
import {
  deployOf,
  deployOfRecord,
  isOver,
  type Run,
  recordKey,
  runAhead,
  withSteps,
} from '../../../src/lib/domain/deploy/run.js'
import { OLD, recordOf, runOf } from '../../support/fakes.js'

describe('deployOf', () => {
  const over = (conclusion: string | null) =>
    runOf(1, { status: 'completed', conclusion, startedAt: '2026-03-01T12:01:00Z' })
  const failed = { code: 'HEALTH_FAILED', message: 'It is not healthy.', hint: 'Look.' } as const
  type Row = [why: string, run: Run, record: Parameters<typeof deployOf>[1], status: string, code: string | null]
  const table: Row[] = [
    ['queued', runOf(1), null, 'queued', null],
    ['pending', runOf(1, { status: 'pending' }), null, 'queued', null],
    ['waiting', runOf(1, { status: 'waiting' }), null, 'queued', null],
    ['requested', runOf(1, { status: 'requested' }), null, 'queued', null],
    ['in progress', runOf(1, { status: 'in_progress' }), recordOf(), 'running', null],
    [
      'in progress after a failure',
      runOf(1, { status: 'in_progress' }),
      recordOf({ status: 'failed', error: failed }),
      'running',
      null,
    ],
    ['success', over('success'), recordOf({ status: 'succeeded' }), 'succeeded', null],
    ['success without a record', over('success'), null, 'succeeded', null],
    ['success whose last record was lost', over('success'), recordOf(), 'succeeded', null],
    ['success of a plan-only run', over('success'), recordOf({ status: 'planned' }), 'planned', null],
    ['failure without a reason', over('failure'), null, 'failed', 'DEPLOY_FAILED'],
    [
      'failure with its reason',
      over('failure'),
      recordOf({ status: 'failed', error: failed }),
      'failed',
      'HEALTH_FAILED',
    ],
    ['failure after a success', over('failure'), recordOf({ status: 'succeeded' }), 'failed', 'DEPLOY_FAILED'],
    [
      'failure after a rollback',
      over('failure'),
      recordOf({ status: 'rolled-back', error: { ...failed, code: 'ROLLED_BACK' } }),
      'rolled-back',
      'ROLLED_BACK',
    ],
    [
      'failure of a deploy that a person cancelled',
      over('failure'),
      recordOf({ status: 'cancelled', error: { ...failed, code: 'CANCELLED' } }),
      'cancelled',
      'CANCELLED',
    ],
    ['cancelled', over('cancelled'), recordOf(), 'cancelled', 'CANCELLED'],
    ['timed out', over('timed_out'), recordOf(), 'timed-out', 'TIMED_OUT'],
    ['a run that did not start', over('startup_failure'), null, 'failed', 'DEPLOY_FAILED'],
    ['skipped', over('skipped'), null, 'failed', 'DEPLOY_FAILED'],
    ['no conclusion', over(null), null, 'failed', 'DEPLOY_FAILED'],
    ['an unknown conclusion', over('stale'), null, 'failed', 'DEPLOY_FAILED'],
  ]
  for (const [why, run, record, status, code] of table) {
    it(`${why}: ${status}${code ? ` with ${code}` : ''}`, () => {
      const deploy = deployOf(run, record, [run])
      expect([deploy.status, deploy.error?.code ?? null]).to.deep.equal([status, code])
      expect(isOver(deploy)).to.equal(run.status === 'completed')
      expect(deploySchema.parse(deploy)).to.deep.equal(deploy)
    })
  }

  it('returns TIMED_OUT for a run that timed out, although its process was cancelled', () => {
    const record = recordOf({ status: 'cancelled', error: { code: 'CANCELLED', message: 'Stopped.' } })
    expect(deployOf(over('timed_out'), record, []).error?.code).to.equal('TIMED_OUT')
  })

  const host = { id: 'a', ami: null, previousAmi: OLD.id, instanceId: 'i-a' }
  const left = recordOf({
    hosts: [
      { ...host, id: 'a', outcome: 'created' },
      { ...host, id: 'b', outcome: 'deploying' },
      { ...host, id: 'c', outcome: 'pending' },
    ],
  })
  const outcomes = (run: Run) => deployOf(run, left, [run]).hosts.map((h) => h.outcome)

  it('does not count a host as done if its run was lost', () => {
    expect(outcomes(over('failure'))).to.deep.equal(['created', 'failed', 'skipped'])
    expect(outcomes(runOf(1, { status: 'in_progress' }))).to.deep.equal(['created', 'deploying', 'pending'])
  })

  it('keeps the AMI of a host that a lost run never reached', () => {
    expect(deployOf(over('failure'), left, []).hosts[2]).to.include({ outcome: 'skipped', ami: OLD.id })
  })

  it('takes the order from the title, and the resolved AMI from the record', () => {
    const title = `fleet deploy all on ${OLD.id} [request-0009] via c-1 by Ada`
    expect(deployOf(runOf(9, { title }), null, [])).to.include({
      requestId: 'request-0009',
      target: 'all',
      ami: OLD.id,
      amiOverride: OLD.id,
      caller: 'c-1',
      requestedBy: 'Ada',
      runId: 9,
      runUrl: 'https://github.example/runs/9',
    })
    expect(deployOf(runOf(9), recordOf({ ami: 'ami-resolved' }), []).ami).to.equal('ami-resolved')
  })

  it("uses the run's id if the title has no request id", () => {
    expect(deployOf(runOf(9, { title: 'x' }), null, [])).to.include({ requestId: '9', target: 'unknown' })
  })

  it('returns times only of events that have happened', () => {
    const times = (run: Run) => {
      const { startedAt, finishedAt } = deployOf(run, null, [])
      return [startedAt !== null, finishedAt !== null]
    }
    const startedAt = '2026-03-01T12:01:00Z'
    expect(times(runOf(1, { startedAt }))).to.deep.equal([false, false])
    expect(times(runOf(1, { status: 'in_progress', startedAt }))).to.deep.equal([true, false])
    expect(times(over('success'))).to.deep.equal([true, true])
  })

  it('names the deploy that a queued one waits for', () => {
    const running = runOf(1, { status: 'in_progress' })
    const queued = runOf(2)
    expect(deployOf(queued, null, [queued, running]).waitsFor).to.deep.equal({
      requestId: 'request-1',
      target: 'clawdinator-1',
      runId: 1,
    })
    expect(deployOf(running, null, [queued, running]).waitsFor).to.equal(null)
  })
})

describe('runAhead', () => {
  const pending = (id: number, change: Partial<Run> = {}) => runOf(id, { status: 'pending', ...change })
  const running = (id: number) => runOf(id, { status: 'in_progress' })
  const done = (id: number) => runOf(id, { status: 'completed', conclusion: 'success' })
  type Row = [why: string, run: Run, others: Run[], holder: number | null]
  const table: Row[] = [
    ['nothing without other runs', pending(3), [], null],
    ['nothing if the other runs are over', pending(3), [done(1), done(2)], null],
    ['the running one of several', pending(4), [pending(3), pending(2), running(1)], 1],
    ['the running one, even if it is later', pending(2), [pending(1), running(3)], 3],
    ['the oldest queued one if none runs', pending(4), [pending(3), pending(1), pending(2)], 1],
    ['no later run', pending(2), [pending(3), pending(4)], null],
    ['of the same second the run with the lower id', pending(3), [pending(2, { createdAt: pending(3).createdAt })], 2],
    ['of the same second no run with a higher id', pending(3), [pending(4, { createdAt: pending(3).createdAt })], null],
    ['nothing once it runs itself', running(3), [running(1), pending(2)], null],
    ['nothing once it is over', done(3), [running(1)], null],
  ]
  for (const [why, run, others, holder] of table) {
    it(`${why}: ${holder}`, () => expect(runAhead(run, [run, ...others])?.id ?? null).to.equal(holder))
  }
})

describe('records and steps', () => {
  it('shows the record of a deploy without a run', () => {
    const deploy = deployOfRecord(recordOf({ status: 'succeeded', finishedAt: '2026-03-01T12:09:00Z' }))
    expect(deploySchema.parse(deploy)).to.deep.equal(deploy)
    expect(deploy).to.include({ status: 'succeeded', waitsFor: null, startedAt: recordOf().createdAt })
  })

  it('names the failed step if the run reported no error', () => {
    const run = runOf(1, { status: 'completed', conclusion: 'failure' })
    const jobs = ['success', 'failure'].map((conclusion) => ({
      name: `Step of ${conclusion}`,
      status: 'completed' as const,
      conclusion,
    }))
    const shown = withSteps(deployOf(run, null, []), [{ name: 'deploy', steps: jobs }])
    expect(shown.error?.message).to.equal('The run failed in its step "Step of failure".')
    const error = { code: 'ROLLED_BACK', message: 'It runs the old one again.' } as const
    const record = recordOf({ status: 'rolled-back', error })
    expect(withSteps(deployOf(run, record, []), [{ name: 'deploy', steps: jobs }]).error).to.include(error)
  })

  it('names the job of every step', () => {
    const step = { name: 'plan', status: 'completed', conclusion: 'success' } as const
    expect(withSteps(deployOf(runOf(1), null, []), [{ name: 'deploy', steps: [step] }]).steps).to.deep.equal([
      { job: 'deploy', ...step },
    ])
  })

  it('keeps the key of a record below its prefix', () => {
    expect(recordKey('request-0001')).to.equal('deploys/request-0001.json')
    for (const id of ['', 'short', '../../etc/passwd', 'request/0001', '-request-1', `r${'x'.repeat(64)}`]) {
      expect(() => recordKey(id), id).to.throw(RangeError)
    }
  })
})
