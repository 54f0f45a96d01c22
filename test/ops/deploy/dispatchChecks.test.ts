import { expect } from 'chai'
import { oneTimeCodes } from '../../../src/lib/adapters/people/oneTimeCodes.js'
import type { Order } from '../../../src/lib/domain/contract/index.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { PEOPLE_KEY } from '../../../src/lib/domain/people/people.js'
import { dispatchDeploy } from '../../../src/lib/ops/deploy/dispatchDeploy.js'
import { addPerson } from '../../../src/lib/ops/people/people.js'
import { failureOf } from '../../support/failure.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import {
  entryOf,
  FakeClock,
  FakeRuns,
  FakeStore,
  hostOf,
  imageOf,
  NEW,
  OLD,
  DISPATCHED as REQUEST,
  recordOf,
  registrySource,
  runOf,
  START,
  DISPATCHED_TITLE as TITLE,
  upstream,
} from '../../support/fakes.js'

const CLAIM = 'claims/request-0001.json'
const titled = (requestId: string) => TITLE.replace('request-0001', requestId)

function world({ bucket = true } = {}) {
  const [runs, clock, store] = [new FakeRuns(), new FakeClock(), new FakeStore()]
  const compute = new FakeCloud(store, clock)
  const registry = [entryOf('a'), entryOf('b'), entryOf('arm', { instanceType: 't4g.large' })]
  const ports = { runs, clock, compute, codes: oneTimeCodes, mustHaveTime: () => {} }
  const ask = (change: Partial<Order> = {}) => {
    const order = { ...REQUEST, ...change }
    const all = { ...ports, store: bucket ? store : null, registry: registrySource(registry) }
    return dispatchDeploy(order, { host: order.caller ? 'claimed' : 'none', code: undefined }, all)
  }
  const refusal = async (change: Partial<Order> = {}) => (await failureOf(ask(change))).code
  return { runs, clock, store, compute, registry, ports, ask, refusal }
}

describe('the claim of a dispatch', () => {
  it('is skipped without a bucket, like every other stored fact', async () => {
    const { runs, ask, refusal } = world({ bucket: false })
    expect((await ask()).runId).to.equal(900)
    runs.runs = [runOf(7, { title: titled('request-0007') })]
    expect((await ask()).runId, 'joins a queued deploy').to.equal(7)
    expect((await ask({ target: 'gone', retire: true })).runId).to.equal(900)
    runs.onDispatch = async () => Promise.reject(new ClawctlError('DENIED', 'No.'))
    expect(
      await refusal({ requestId: 'request-0002', target: 'arm', caller: undefined, amiOverride: OLD.id }),
    ).to.equal('AMI_REFUSED')
    expect(await refusal({ requestId: 'request-0003', requestedBy: 'Eve' })).to.equal('DENIED')
  })

  it('belongs to the request if the answer to its write was lost', async () => {
    const { store, ask } = world()
    store.loseAnswer()
    expect((await ask()).runId).to.equal(900)
  })

  it('expires exactly ten minutes after it was written, and immediately if it is not readable', async () => {
    const { clock, store, runs, ask, refusal } = world()
    store.set(CLAIM, { nonce: 'another', at: new Date(clock.now().getTime() - 10 * 60_000).toISOString() })
    expect((await ask()).runId).to.equal(900)
    store.set('claims/request-0002.json', '{')
    expect((await ask({ requestId: 'request-0002' })).runId).to.equal(900)
    store.set('claims/request-0003.json', { nonce: 'another', at: START })
    expect(await refusal({ requestId: 'request-0003' })).to.equal('UPSTREAM')
    expect(runs.dispatched).to.have.length(2)
  })

  /** Another request writes the claim after this one has read that none exists. */
  const claimedMeanwhile = (store: FakeStore, claim: object | null) => {
    const { putIf } = store
    store.putIf = async (key, text, etag) => {
      if (key !== CLAIM || etag !== null) return putIf.call(store, key, text, etag)
      if (claim) store.set(CLAIM, claim)
      return false
    }
  }

  it('is not taken over from a request with a run, however old, or with a claim that was deleted meanwhile', async () => {
    const run = { id: 5, url: 'https://github.example/runs/5', requestId: 'request-0001' }
    for (const claim of [{ nonce: 'settled', at: '2026-01-01T00:00:00Z', run }, null]) {
      const { runs, store, ask } = world()
      claimedMeanwhile(store, claim)
      const error = await failureOf(ask())
      expect(error.code).to.equal('UPSTREAM')
      expect(error.hint).to.include('after 10 minutes')
      expect(runs.dispatched).to.deep.equal([])
    }
  })

  it('leads to the run of the faster request when GitHub lists it', async () => {
    const { runs, clock, store, ask } = world()
    claimedMeanwhile(store, { nonce: 'another', at: START })
    clock.onSleep = () => {
      runs.runs = [runOf(5, { title: TITLE })]
    }
    expect((await ask()).runId).to.equal(5)
    expect(runs.dispatched).to.deep.equal([])
  })

  it('stores the run that was found by its name, also after a failed list', async () => {
    const { runs, clock, ask } = world()
    const list = runs.list.bind(runs)
    runs.onDispatch = async () => {
      runs.list = async () => Promise.reject(upstream())
      clock.onSleep = (nth) => {
        if (nth < 2) return
        runs.list = list
        runs.runs = [runOf(5, { title: TITLE })]
      }
      return null
    }
    expect((await ask()).runId).to.equal(5)
    runs.runs = []
    clock.onSleep = () => {}
    expect((await ask()).runId, 'by its claim').to.equal(5)
    expect(runs.dispatched).to.have.length(1)
  })

  it('leads to the record of the joined deploy when GitHub no longer lists its run', async () => {
    const { runs, store, ask } = world()
    runs.runs = [runOf(7, { title: titled('request-0007') })]
    await ask()
    runs.runs = []
    store.set('deploys/request-0007.json', recordOf({ requestId: 'request-0007', runId: 7, status: 'kept' }))
    expect(await ask()).to.include({ requestId: 'request-0007', status: 'kept' })
  })

  it('returns a hint for a request id that was used before', async () => {
    const { runs, ask } = world()
    runs.runs = [runOf(3, { title: TITLE })]
    expect((await failureOf(ask({ requestedBy: 'Eve' }))).hint).to.include('a new one')
  })
})

describe('a deploy that is not dispatched', () => {
  it('does not join a run that has started or ended, and ignores runs with other names', async () => {
    const { runs, ask } = world()
    runs.runs = [
      runOf(6, { title: 'nightly' }),
      runOf(7, { title: titled('request-0007'), status: 'in_progress' }),
      runOf(8, { title: titled('request-0008'), status: 'completed', conclusion: 'success' }),
    ]
    expect((await ask()).runId).to.equal(900)
  })

  it('counts only queued runs, by their requesters', async () => {
    const { runs, ask } = world()
    const ten = (change: Parameters<typeof runOf>[1], by: string) =>
      Array.from({ length: 10 }, (_, n) =>
        runOf(n, { title: `fleet deploy arm [request-${1000 + n}]${by}`, ...change }),
      )
    runs.runs = [
      runOf(20, { title: 'nightly' }),
      ...ten({ status: 'completed', conclusion: 'success' }, ' via b'),
      ...ten({ status: 'in_progress' }, ' via b'),
    ]
    expect((await ask()).runId).to.equal(900)
    for (const [by, change, whose] of [
      [' via b', {}, 'b'],
      [' by Ada', { caller: undefined }, 'Ada'],
      ['', { caller: undefined, requestedBy: undefined }, 'requesters without a name'],
    ] as const) {
      runs.runs = ten({}, by)
      const error = await failureOf(ask({ ...change, requestId: `request-2${by.length}00` }))
      expect([error.code, error.message]).to.deep.equal([
        'RATE_LIMITED',
        `10 deploys of ${whose} are queued, which is the limit.`,
      ])
      expect(error.hint).to.include('clawctl fleet cancel')
    }
  })

  it('checks an image for each named instance, and for no other', async () => {
    const { compute, runs, ask, refusal } = world()
    expect((await ask()).runId).to.equal(900)
    const person = { caller: undefined, requestedBy: 'Ada' }
    for (const target of ['arm', 'all'])
      expect(await refusal({ ...person, target, requestId: `request-${target}` })).to.equal('AMI_NOT_FOUND')
    expect(await refusal({ ...person, amiOverride: 'ami-0000000f', requestId: 'request-0002' })).to.equal(
      'AMI_NOT_FOUND',
    )
    compute.images = [imageOf(NEW, { failedIn: 'request-0000' })]
    expect(await refusal({ requestId: 'request-0003' })).to.equal('AMI_FAILED_BEFORE')
    expect(runs.dispatched).to.have.length(1)
  })

  it('is accepted if EC2 does not answer', async () => {
    const { compute, ask } = world()
    compute.fleetImages = async () => Promise.reject(upstream())
    expect((await ask()).runId).to.equal(900)
  })

  it('requires a code for requests of a person once people are enrolled, and otherwise reads no people', async () => {
    const { store, registry, ports, ask, refusal } = world()
    await addPerson('Ada', { ...ports, store, registry })
    const read: string[] = []
    const { get } = store
    store.get = async (key) => {
      read.push(key)
      return get.call(store, key)
    }
    expect((await ask()).runId).to.equal(900)
    expect(read).not.to.include(PEOPLE_KEY)
    expect(await refusal({ requestId: 'request-0002', amiOverride: NEW.id })).to.equal('CODE_REQUIRED')
  })

  it('considers only the machines of the retired id', async () => {
    const { compute, store, runs, refusal, ask } = world()
    const retire = { target: 'gone', retire: true }
    compute.addUnmanaged(hostOf('a'))
    expect(await refusal(retire)).to.equal('UNKNOWN_TARGET')
    compute.addUnmanaged(hostOf('gone'))
    for (const key of [...store.objects.keys()]) if (key.includes('/gone/')) store.objects.delete(key)
    await ask({ ...retire, requestId: 'request-0002' })
    expect(runs.dispatched).to.have.length(1)
  })
})
