import { expect } from 'chai'
import type { DeployDetail } from '../../../src/lib/domain/contract/index.js'
import { ClawctlError, type Code } from '../../../src/lib/domain/errors.js'
import { type ControlApi, controlApiPlane } from '../../../src/lib/ops/deploy/controlApiPlane.js'
import { type FollowOptions, followDeploy } from '../../../src/lib/ops/deploy/followDeploy.js'
import { failureOf } from '../../support/failure.js'
import { detailOf, FakeClock, FakeProgress, NEW, OLD, START, upstream } from '../../support/fakes.js'

const MINUTE = 60_000
const OVER = detailOf({ status: 'succeeded' })

/** Returns these answers one after the other and repeats the last one; an error is thrown. */
function world(...answers: (DeployDetail | Error)[]) {
  const clock = new FakeClock()
  const progress = new FakeProgress()
  let asked = 0
  const ask = async () => {
    const answer = answers[Math.min(asked, answers.length - 1)] as DeployDetail | Error
    asked += 1
    if (answer instanceof Error) throw answer
    return answer
  }
  return {
    clock,
    progress,
    ask,
    follow: (options: Partial<FollowOptions> = {}) =>
      followDeploy({ ask, clock, progress }, { requestId: 'request-0001', timeoutMs: MINUTE, ...options }),
    asked: () => asked,
  }
}

describe('followDeploy', () => {
  it('prints every step and host once when it ends', async () => {
    const step = (name: string, status: 'in_progress' | 'completed', conclusion: string | null) =>
      ({ job: 'deploy', name, status, conclusion }) as const
    const host = { id: 'a', ami: NEW.id, previousAmi: OLD.id, instanceId: null }
    const at = (name: 'plan' | 'standby', clause: string) => ({ name, since: START, clause })
    const waitsFor = { requestId: 'request-0000', target: 'all', runId: 1 }
    const first = [step('checkout', 'completed', 'success'), step('plan', 'in_progress', null)]
    const second = [step('checkout', 'completed', 'success'), step('plan', 'completed', 'failure')]
    const { progress, follow } = world(
      detailOf({ status: 'queued', waitsFor, queuePosition: 2 }),
      detailOf({ status: 'queued', waitsFor, queuePosition: 1 }),
      detailOf({ status: 'queued', waitsFor, queuePosition: 1 }),
      detailOf({ steps: first, hosts: [{ ...host, outcome: 'pending' }] }),
      detailOf({ steps: first, hosts: [{ ...host, outcome: 'deploying', step: at('plan', 'create x') }] }),
      detailOf({ steps: first, hosts: [{ ...host, outcome: 'deploying', step: at('standby', 'it boots') }] }),
      detailOf({ steps: first, hosts: [{ ...host, outcome: 'deploying', step: at('standby', 'it is up') }] }),
      detailOf({ steps: second, hosts: [{ ...host, outcome: 'kept', reason: 'No token.' }], status: 'failed' }),
    )
    expect((await follow()).status).to.equal('failed')
    expect(progress.notes).to.deep.equal([
      'queued behind the deploy of all (request-0000), number 2 in the queue',
      'queued behind the deploy of all (request-0000), number 1 in the queue',
      '✔ deploy: checkout',
      '✖ deploy: plan',
    ])
    expect(progress.steps).to.deep.equal(['a: plan', 'a: wait until ready', 'a: kept: No token.'])
    expect(progress.said).to.deep.equal(['create x', 'it boots', 'it is up'])
  })

  it('sends no request after the deploy is over', async () => {
    const { clock, follow, asked } = world(OVER)
    await follow()
    expect([asked(), clock.elapsed]).to.deep.equal([1, 0])
  })

  it('polls at growing intervals, at least every five seconds', async () => {
    const { clock, follow } = world(detailOf())
    await failureOf(follow())
    expect(clock.sleeps[0]).to.equal(500)
    expect(Math.max(...clock.sleeps)).to.equal(5000)
  })

  it('prints the known place of a queued deploy, and nothing of it once it runs', async () => {
    const waitsFor = { requestId: 'request-0000', target: 'all', runId: 1 }
    const { progress, follow } = world(
      detailOf({ status: 'queued' }),
      detailOf({ status: 'running', waitsFor, queuePosition: 1 }),
      detailOf({ status: 'queued', waitsFor }),
      OVER,
    )
    await follow()
    expect(progress.notes).to.deep.equal(['queued behind the deploy of all (request-0000)'])
  })

  it('ends at its time limit, and reports that the deploy goes on', async () => {
    const { clock, follow } = world(detailOf())
    const error = await failureOf(follow())
    expect([error.code, clock.elapsed]).to.deep.equal(['TIMED_OUT', MINUTE])
    expect(error.message).to.equal('The deploy was not over after 1 minute: it was running.')
    expect(error.hint).to.match(/goes on: `clawctl fleet follow request-0001`/)
  })

  it('continues while a service does not answer for a time, and reports it once', async () => {
    const limited = new ClawctlError('RATE_LIMITED', 'Slower.')
    const { progress, follow } = world(upstream(), upstream(), detailOf(), limited, OVER)
    expect(await follow()).to.equal(OVER)
    expect(progress.notes.filter((note) => note.includes('could not be read, trying again'))).to.have.length(2)
  })

  it('ends with TIMED_OUT and the last answer if the service stays unavailable', async () => {
    const error = await failureOf(world(upstream()).follow())
    expect(error.code).to.equal('TIMED_OUT')
    expect(error.message).to.include(upstream().message)
  })

  it('does not blame a service that answers again', async () => {
    const error = await failureOf(world(upstream(), detailOf()).follow())
    expect(error.message).to.not.include(upstream().message)
  })

  for (const code of ['UNAUTHORIZED', 'NOT_FOUND', 'DENIED', 'NOT_CONFIGURED'] satisfies Code[]) {
    it(`ends immediately with ${code}`, async () => {
      const { clock, progress, follow } = world(detailOf(), new ClawctlError(code, 'No.'))
      const error = await failureOf(follow({ listedWithinMs: MINUTE }))
      expect([error.code, error.partial, error.hint]).to.deep.equal([code, undefined, undefined])
      expect([clock.sleeps.length, progress.notes]).to.deep.equal([1, []])
    })
  }

  it('waits for a run to be listed for a limited time, and for no other failure', async () => {
    const { clock, progress, follow } = world(new ClawctlError('NOT_FOUND', 'No.'))
    expect((await failureOf(follow({ listedWithinMs: 1250 }))).code).to.equal('NOT_FOUND')
    expect([clock.elapsed, progress.notes]).to.deep.equal([1250, []])
    const denied = world(new ClawctlError('DENIED', 'No.'))
    await failureOf(denied.follow({ listedWithinMs: MINUTE }))
    expect(denied.asked()).to.equal(1)
  })

  it('gives up after five minutes without an answer, with the last known deploy', async () => {
    const { clock, follow } = world(detailOf(), upstream())
    const error = await failureOf(follow({ timeoutMs: 60 * MINUTE }))
    expect(error.code).to.equal('UPSTREAM')
    expect(clock.elapsed).to.be.within(5 * MINUTE, 6 * MINUTE)
    expect(error.partial?.deploy).to.include({ status: 'running' }).and.not.have.property('steps')
    expect(error.hint).to.include('goes on')
  })

  it('reports that the deploy goes on if following is stopped, and ends the list of hosts', async () => {
    const host = { id: 'a', ami: NEW.id, previousAmi: OLD.id, instanceId: null, outcome: 'deploying' } as const
    const { clock, progress, follow } = world(detailOf({ hosts: [host] }))
    clock.sleep = async () => Promise.reject(new ClawctlError('CANCELLED', 'Interrupted.'))
    const lists: Promise<unknown>[] = []
    const { list } = progress
    progress.list = (items, work) => {
      const shown = list.call(progress, items, work) as ReturnType<typeof work>
      lists.push(shown)
      return shown
    }
    const error = await failureOf(follow())
    expect([error.code, error.message]).to.deep.equal(['CANCELLED', 'You stopped following the deploy.'])
    expect(error.partial?.deploy).to.include({ status: 'running' })
    expect(error.hint).to.include('goes on')
    expect(lists).to.have.length(1)
    await lists[0]
  })
})

describe('the deploy of the Control API plane', () => {
  const queued = detailOf({ status: 'queued', runUrl: 'https://github.example/runs/1' })
  const options = { planOnly: false, onFailure: 'rollback', healthTimeoutMs: 0, waitTimeoutMs: MINUTE } as const
  const deploy = (wait: boolean, ...answers: (DeployDetail | Error)[]) => {
    const { ask, clock, progress } = world(...answers)
    const { steps: _, ...created } = queued
    const api: ControlApi = {
      createDeploy: async () => created,
      freeze: async () => [],
      unfreeze: async () => [],
      cancel: async () => created,
      deploy: async () => ({ deploy: await ask(), version: null }),
      deploys: async () => ({ deploys: [], next: null, sources: { runs: 'read', records: 'read' } }),
      preflight: async () => [],
      fleet: async () => ({ latestAmi: null, instances: [] }),
      host: async () => ({ id: 'a', registered: true, active: null, machines: [], deploys: [] }),
    }
    const request = { target: 'a', requestId: 'request-0001' }
    return controlApiPlane({ api, clock, progress }).deploy(request, { ...options, wait })
  }

  it('is the queued run without --wait', async () => {
    expect(await deploy(false, upstream())).to.include({ status: 'queued' })
  })

  it('is the outcome with --wait, without the steps', async () => {
    const result = await deploy(true, OVER)
    expect(result).to.include({ status: 'succeeded' }).and.not.have.property('steps')
  })

  it("fails with the code of the run's outcome, and with the deploy", async () => {
    const error = { code: 'ROLLED_BACK', message: 'It runs the old one.', hint: 'Look.' } as const
    const failure = await failureOf(deploy(true, detailOf({ status: 'rolled-back', error })))
    expect(failure).to.include(error)
    expect(failure.partial?.deploy).to.include({ status: 'rolled-back' })
  })

  it('keeps the last known deploy in the error if the connection is lost', async () => {
    const late = await failureOf(deploy(true, detailOf({ status: 'running' })))
    expect(late.code).to.equal('TIMED_OUT')
    expect(late.partial?.deploy).to.include({ status: 'running' })
    const blind = await failureOf(deploy(true, upstream()))
    expect(blind.code).to.equal('TIMED_OUT')
    expect(blind.partial?.deploy).to.include({ runUrl: queued.runUrl })
  })

  it('follows a run that the list does not show yet', async () => {
    const notYet = new ClawctlError('NOT_FOUND', 'There is no such deploy.')
    expect(await deploy(true, notYet, OVER)).to.include({ status: 'succeeded' })
  })
})
