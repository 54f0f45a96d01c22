import { expect } from 'chai'
import { oneTimeCodes } from '../../../src/lib/adapters/people/oneTimeCodes.js'
import type { Order } from '../../../src/lib/domain/contract/index.js'
import { FREEZE_KEY, formatFreezes } from '../../../src/lib/domain/deploy/freeze.js'
import { cancelKey } from '../../../src/lib/domain/deploy/run.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { cancelDeploy } from '../../../src/lib/ops/deploy/cancelDeploy.js'
import { getDeploy } from '../../../src/lib/ops/deploy/deploys.js'
import { dispatchDeploy } from '../../../src/lib/ops/deploy/dispatchDeploy.js'
import { failureOf } from '../../support/failure.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import {
  FakeClock,
  FakeRuns,
  FakeStore,
  freezeOf,
  DISPATCHED_BY as IDENTITY,
  OLD,
  DISPATCHED as REQUEST,
  recordOf,
  registryOf,
  registrySource,
  runOf,
  START,
  DISPATCHED_TITLE as TITLE,
  upstream,
} from '../../support/fakes.js'

function world() {
  const runs = new FakeRuns()
  const clock = new FakeClock()
  const store = new FakeStore()
  const compute = new FakeCloud(store, clock)
  /** After this many reads of the clock no time is left. */
  const time = { looks: Number.POSITIVE_INFINITY }
  const mustHaveTime = () => {
    if (--time.looks < 0) throw new ClawctlError('TIMED_OUT', 'There is no time left.')
  }
  const registry = registrySource(registryOf('a', 'b'))
  const ports = { runs, clock, store, compute, registry, codes: oneTimeCodes, mustHaveTime }
  const ask = (change: Partial<Order> = {}, code?: string) => {
    const { caller } = { ...REQUEST, ...change }
    return dispatchDeploy({ ...REQUEST, ...change }, { host: caller ? 'claimed' : 'none', code }, ports)
  }
  return { runs, clock, store, compute, time, ask }
}

/** GitHub starts the run, and lists it after some reads, but does not name it. */
const unnamed = (
  runs: FakeRuns,
  clock: FakeClock,
  looks: number,
  outcome: () => never | undefined = () => undefined,
) => {
  runs.onDispatch = async () => {
    clock.onSleep = (nth) => {
      if (nth === looks) runs.runs = [runOf(5, { title: TITLE }), ...runs.runs]
    }
    outcome()
    return null
  }
}

describe('dispatchDeploy', () => {
  it('starts one run and returns it', async () => {
    const { runs, clock, ask } = world()
    expect(await ask()).to.deep.include({
      requestId: 'request-0001',
      target: 'a',
      caller: 'b',
      requestedBy: 'Ada',
      status: 'queued',
      runId: 900,
      runUrl: 'https://github.example/runs/900',
      waitsFor: null,
      ...{ createdAt: START, startedAt: null, finishedAt: null },
    })
    expect(runs.dispatched).to.deep.equal([{ ...REQUEST, identity: IDENTITY }])
    expect(clock.sleeps).to.deep.equal([])
  })

  it('reports which deploy the new run waits for', async () => {
    const { runs, ask } = world()
    runs.runs = [runOf(2, { status: 'in_progress', createdAt: '2026-03-01T11:59:00Z' })]
    expect((await ask()).waitsFor).to.include({ runId: 2 })
  })

  it('waits for a run that was queued within the same second', async () => {
    const { runs, clock, ask } = world()
    runs.runs = [runOf(2, { status: 'queued', createdAt: '2026-03-01T12:00:00Z' })]
    await clock.sleep(500)
    expect((await ask()).waitsFor).to.include({ runId: 2 })
  })

  it('may be repeated immediately with the same id after a refusal of GitHub', async () => {
    const { runs, clock, ask } = world()
    const accept = runs.onDispatch
    runs.onDispatch = async () => {
      throw new ClawctlError('DENIED', 'GitHub refused to start the workflow (403).')
    }
    expect((await failureOf(ask())).code).to.equal('DENIED')
    runs.onDispatch = accept
    expect(await ask()).to.include({ status: 'queued', runId: 900 })
    expect([runs.dispatched.length, clock.sleeps]).to.deep.equal([2, []])
  })

  it('is not dispatched again while another request handles it, and is taken over from a dead one', async () => {
    const { runs, clock, store, ask } = world()
    store.set('claims/request-0001.json', { nonce: 'another', at: clock.now().toISOString() })
    expect((await failureOf(ask())).code).to.equal('UPSTREAM')
    expect(runs.dispatched).to.deep.equal([])
    await clock.sleep(10 * 60_000)
    expect(await ask()).to.include({ status: 'queued' })
  })

  it('writes no claim without enough time to dispatch, and may be repeated immediately', async () => {
    const { runs, store, time, ask } = world()
    time.looks = 0
    expect((await failureOf(ask())).code).to.equal('TIMED_OUT')
    expect(store.objects.has('claims/request-0001.json')).to.equal(false)

    store.set('claims/request-0001.json', { nonce: 'of-a-dead-request', at: '2026-01-01T00:00:00Z' })
    time.looks = 1
    expect((await failureOf(ask())).code, 'nor is one taken over').to.equal('TIMED_OUT')
    expect(store.objects.get('claims/request-0001.json')?.text).to.include('of-a-dead-request')
    expect(runs.dispatched).to.deep.equal([])

    time.looks = 2
    expect((await ask()).runId).to.equal(900)
  })

  it('returns the same run for the same request id, and starts no second one', async () => {
    const { runs, ask } = world()
    runs.runs = [runOf(9), runOf(3, { title: TITLE, status: 'in_progress' })]
    expect(await ask()).to.include({ runId: 3, status: 'running' })
    expect(runs.dispatched).to.deep.equal([])
  })

  it('returns the same answer as the run itself, with its record', async () => {
    const { runs, store, ask } = world()
    runs.runs = [runOf(3, { title: TITLE, status: 'completed', conclusion: 'failure' })]
    const error = { code: 'ROLLED_BACK', message: 'It runs the old one again.' } as const
    store.set('deploys/request-0001.json', recordOf({ status: 'rolled-back', error }))
    expect(await ask()).to.deep.include({ status: 'rolled-back', error })
  })

  it('finds the request id by its record after a hundred later runs', async () => {
    const { runs, store, ask } = world()
    const record = recordOf({
      requestId: 'request-0001',
      target: 'a',
      caller: 'b',
      requestedBy: 'Ada',
      amiOverride: null,
    })
    store.set('deploys/request-0001.json', { ...record, status: 'succeeded', runId: 3 })
    expect(await ask()).to.include({ runId: 3, status: 'succeeded' })
    expect((await failureOf(ask({ target: 'all' }))).code).to.equal('REQUEST_CONFLICT')
    expect(runs.dispatched).to.deep.equal([])
  })

  for (const change of [{ target: 'all' }, { amiOverride: OLD.id }, { requestedBy: 'Eve' }, { caller: undefined }]) {
    it(`refuses the same request id with ${JSON.stringify(change)}`, async () => {
      const { runs, ask } = world()
      runs.runs = [runOf(3, { title: TITLE })]
      expect((await failureOf(ask(change))).code).to.equal('REQUEST_CONFLICT')
      expect(runs.dispatched).to.deep.equal([])
    })
  }

  const refusals: [change: Partial<Order>, code: string][] = [
    [{ target: 'b' }, 'SELF_DEPLOY'],
    [{ target: 'all', requestedBy: undefined }, 'BOT_DEPLOY_ALL'],
    [{ target: 'all', caller: undefined, requestedBy: undefined }, 'PERSON_REQUIRED'],
    [{ caller: 'c' }, 'UNKNOWN_CALLER'],
    [{ target: 'c' }, 'UNKNOWN_TARGET'],
    [{ target: 'A' }, 'INVALID_TARGET'],
    [{ amiOverride: 'ami-1' }, 'INVALID_AMI'],
  ]
  for (const [change, code] of refusals) {
    it(`applies the policy itself: ${code}`, async () => {
      const { runs, ask } = world()
      const error = await failureOf(ask(change))
      expect([error.code, typeof error.hint]).to.deep.equal([code, 'string'])
      expect(runs.dispatched).to.deep.equal([])
    })
  }

  it('returns the same deploy while the claim exists, after any number of runs, also without a record', async () => {
    const { runs, clock, ask } = world()
    expect(await ask()).to.include({ status: 'queued', runId: 900 })
    runs.runs = Array.from({ length: 100 }, (_, n) => runOf(1000 + n))
    expect(await ask()).to.include({ runId: 900, requestId: 'request-0001', status: 'queued' })
    await clock.sleep(29 * 24 * 3_600_000)
    expect(await ask()).to.include({ runId: 900, requestId: 'request-0001', status: 'failed' })
    expect((await failureOf(ask({ requestedBy: 'Eve' }))).code).to.equal('REQUEST_CONFLICT')
    expect(runs.dispatched).to.have.length(1)
  })

  it('does not dispatch again while GitHub may not yet list the run of a lost answer', async () => {
    const { runs, clock, ask } = world()
    const accept = runs.onDispatch
    runs.onDispatch = async () => {
      throw upstream()
    }
    await failureOf(ask())
    runs.onDispatch = accept
    for (let minute = 1; minute < 9; minute++) {
      await clock.sleep(60_000)
      expect((await failureOf(ask())).code).to.equal('UPSTREAM')
    }
    expect(runs.dispatched).to.have.length(1)
    await clock.sleep(2 * 60_000)
    expect(await ask()).to.include({ runId: 900 })
    expect(runs.dispatched).to.have.length(2)
  })

  it('joins the queued deploy of the same requester and target', async () => {
    const { runs, ask } = world()
    runs.runs = [runOf(7, { title: TITLE.replace('request-0001', 'request-0007') })]
    expect(await ask()).to.include({ runId: 7, requestId: 'request-0007' })
    expect(runs.dispatched).to.deep.equal([])
    runs.runs = [runOf(7, { ...runs.runs[0], status: 'completed', conclusion: 'success' })]
    expect(await ask()).to.include({ runId: 7, requestId: 'request-0007', status: 'succeeded' })
    expect(runs.dispatched).to.deep.equal([])
  })

  for (const [why, change, title] of [
    ['of another requester', { requestedBy: 'Eve' }, TITLE],
    ['of a verified requester', {}, TITLE.replace('person claimed', 'person verified')],
    [
      'without a requester',
      { caller: undefined, requestedBy: undefined },
      'fleet deploy a [request-0007] (unknown, shared token)',
    ],
    ['of another target', {}, TITLE.replace('deploy a', 'deploy b')],
    ['with another AMI', {}, TITLE.replace('deploy a', `deploy a on ${OLD.id}`)],
  ] as const) {
    it(`does not join a queued deploy ${why}`, async () => {
      const { runs, ask } = world()
      runs.runs = [runOf(7, { title: title.replace('request-0001', 'request-0007') })]
      expect(await ask(change)).to.include({ runId: 900 })
    })
  }

  it('does not join a cancelled deploy, although GitHub still lists it as queued', async () => {
    const { runs, store, ask } = world()
    runs.runs = [runOf(7, { title: TITLE.replace('request-0001', 'request-0007') })]
    store.set(cancelKey('request-0007'), { by: 'Jo', at: '2026-03-01T12:00:00Z' })
    expect(await ask()).to.include({ runId: 900 })
    expect(runs.dispatched).to.have.length(1)
  })

  it('is found by its own id after it joined a queued deploy: in the list, by the record, by the claim', async () => {
    const { runs, store, clock, ask } = world()
    const found = async (requestId = 'request-0001') => (await getDeploy({ runs, store, clock }, requestId)).deploy
    const theirs = runOf(7, { title: TITLE.replace('request-0001', 'request-0007') })
    runs.runs = [theirs]
    await ask()
    expect(await found()).to.include({ runId: 7, requestId: 'request-0007', status: 'queued' })
    runs.runs = []
    expect(await found(), 'GitHub lists it no more, or not yet').to.include({
      requestId: 'request-0007',
      status: 'queued',
    })
    store.set('deploys/request-0007.json', recordOf({ requestId: 'request-0007', runId: 7, status: 'succeeded' }))
    expect(await found()).to.include({ requestId: 'request-0007', status: 'succeeded' })
    expect((await failureOf(found('request-0009'))).code).to.equal('NOT_FOUND')

    runs.runs = [theirs]
    store.objects.delete('deploys/request-0007.json')
    const { requestId } = await cancelDeploy('request-0001', 'Ada', { runs, store, clock })
    expect([requestId, runs.cancelled]).to.deep.equal(['request-0007', [7]])
    expect([...store.objects.keys()]).to.include('control/cancel/request-0007.json')
  })

  it('retires only ids with a machine, a heartbeat or an object of the active machine, or if EC2 does not answer', async () => {
    const { runs, store, compute, ask } = world()
    const retire = (n: number) => ask({ target: 'gone', retire: true, requestId: `retire-000${n}` })
    const refused = await failureOf(retire(1))
    expect([refused.code, runs.dispatched.length]).to.deep.equal(['UNKNOWN_TARGET', 0])
    expect(refused.hint).to.include('--mode ci')

    store.set('heartbeats/gone-2/i-1.json', {})
    expect((await failureOf(retire(1))).code, 'of another instance').to.equal('UNKNOWN_TARGET')
    store.set('active/gone.json', {})
    await retire(2)
    store.objects.delete('active/gone.json')
    store.set('heartbeats/gone/i-1.json', {})
    await retire(3)
    store.objects.delete('heartbeats/gone/i-1.json')
    compute.describeHosts = async () => Promise.reject(upstream())
    await retire(4)
    expect(runs.dispatched).to.have.length(3)
  })

  it('is refused if ten deploys of the caller are queued, with the time of the next attempt', async () => {
    const { runs, ask } = world()
    const queued = (n: number, by: string) =>
      runOf(n, { title: `fleet deploy all [request-${1000 + n}] via b by ${by}` })
    runs.runs = Array.from({ length: 9 }, (_, n) => queued(n, `P${n}`))
    expect(await ask()).to.include({ runId: 900 })
    runs.runs = [queued(10, 'Jo'), ...runs.runs]
    const error = await failureOf(ask({ requestId: 'request-0002' }))
    expect([error.code, error.retryAfterS]).to.deep.equal(['RATE_LIMITED', 60])
    expect(await ask({ requestId: 'request-0003', caller: undefined })).to.include({ runId: 900 })
  })

  it('is refused while the target is frozen', async () => {
    const { runs, clock, store, ask } = world()
    const until = new Date(clock.now().getTime() + 60_000).toISOString()
    store.set(FREEZE_KEY, formatFreezes([freezeOf('a', { until })]))
    const error = await failureOf(ask())
    expect([error.code, runs.dispatched]).to.deep.equal(['FROZEN', []])
    expect(error.message).to.include('Ada').and.include('Discord is down')
    await clock.sleep(60_000)
    expect(await ask()).to.include({ runId: 900 })
  })

  it('finds the run by its name if GitHub does not name it', async () => {
    const { runs, clock, ask } = world()
    unnamed(runs, clock, 3)
    expect(await ask()).to.include({ runId: 5, requestId: 'request-0001' })
    expect(clock.sleeps).to.have.length(3)
  })

  it('stops its search before its time limit, and reports that a repetition is safe', async () => {
    const { clock, ask, runs } = world()
    unnamed(runs, clock, 1000)
    const error = await failureOf(ask())
    expect(error.code).to.equal('UPSTREAM')
    expect(error.hint).to.include('try again with the same request id')
    expect(clock.elapsed).to.be.below(15_000)
  })

  it('finds a run that GitHub started without an answer', async () => {
    const { runs, clock, ask } = world()
    unnamed(runs, clock, 2, () => {
      throw upstream()
    })
    expect(await ask()).to.include({ runId: 5 })
    expect(runs.dispatched).to.have.length(1)
  })

  it('passes on the failure if no run appears', async () => {
    const { runs, ask } = world()
    runs.onDispatch = async () => {
      throw upstream()
    }
    expect(await failureOf(ask())).to.include({ code: 'UPSTREAM', message: upstream().message })
    expect(runs.dispatched).to.have.length(1)
  })

  it('does not search for a run that GitHub refused', async () => {
    const { runs, clock, ask } = world()
    runs.onDispatch = async () => {
      throw new ClawctlError('DENIED', 'No.')
    }
    expect((await failureOf(ask())).code).to.equal('DENIED')
    expect(clock.sleeps).to.deep.equal([])
  })
})
