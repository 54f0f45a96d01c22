import { expect } from 'chai'
import type { Freeze } from '../../../src/lib/domain/contract/index.js'
import { FREEZE_KEY } from '../../../src/lib/domain/deploy/freeze.js'
import { changeObject } from '../../../src/lib/ops/changeObject.js'
import { cancelDeploy, refuseCancelled } from '../../../src/lib/ops/deploy/cancelDeploy.js'
import { freezeFleet, readFreezes, unfreezeFleet } from '../../../src/lib/ops/deploy/freeze.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeRuns, FakeStore, recordOf, registryOf, runOf, START } from '../../support/fakes.js'

describe('freezes', () => {
  function world() {
    const [store, clock] = [new FakeStore(), new FakeClock()]
    const ports = { store, clock, registry: registryOf('a', 'b') }
    const freeze = (target: string, change: object = {}) =>
      freezeFleet({ target, reason: 'Discord is down', identity: 'person verified', ...change }, ports)
    const targets = async () => (await readFreezes(ports)).map(({ target }) => target)
    return { store, clock, ports, freeze, targets, unfreeze: (target: string) => unfreezeFleet({ target }, ports) }
  }

  it('are stored together with their requesters, until they expire', async () => {
    const { clock, ports, freeze, targets } = world()
    await freeze('all', { requestedBy: 'Ada', caller: 'b' })
    const freezes = await freeze('a', { forSeconds: 90 })
    const of = { reason: 'Discord is down', identity: 'person verified', at: START } as const
    expect(freezes).to.deep.equal([
      { target: 'all', ...of, requestedBy: 'Ada', caller: 'b', until: null },
      { target: 'a', ...of, requestedBy: null, caller: null, until: '2026-03-01T12:01:30.000Z' },
    ] satisfies Freeze[])
    expect(await readFreezes(ports)).to.deep.equal(freezes)
    await clock.sleep(90_000)
    expect(await targets()).to.deep.equal(['all'])
  })

  it('replace the freeze of the same target', async () => {
    const { freeze } = world()
    await freeze('a')
    await freeze('b')
    const freezes = await freeze('a', { reason: 'again' })
    expect(freezes.map(({ target, reason }) => [target, reason])).to.deep.equal([
      ['b', 'Discord is down'],
      ['a', 'again'],
    ])
  })

  it('are possible only for instances of the registry', async () => {
    const { store, freeze } = world()
    const error = await failureOf(freeze('c'))
    expect([error.code, store.objects.size]).to.deep.equal(['UNKNOWN_TARGET', 0])
    expect(error.hint).to.include('clawctl registry list')
  })

  it('end for exactly one target', async () => {
    const { freeze, unfreeze, targets } = world()
    await freeze('a')
    await freeze('b')
    expect((await unfreeze('a')).map(({ target }) => target)).to.deep.equal(['b'])
    expect(await targets()).to.deep.equal(['b'])
    const error = await failureOf(unfreeze('all'))
    expect([error.code, error.message]).to.deep.equal(['NOT_FOUND', 'The fleet as a whole is not frozen.'])
    await freeze('a')
    expect((await failureOf(unfreeze('all'))).hint).to.equal('Frozen: b, a.')
    await unfreeze('a')
    await unfreeze('b')
    expect(await failureOf(unfreeze('a'))).to.include({ message: 'a is not frozen.', hint: 'Nothing is frozen.' })
  })

  it('block everything if their object is not valid, and nothing without an object or a bucket', async () => {
    const { store, clock, ports, freeze } = world()
    for (const empty of [store, null]) expect(await readFreezes({ store: empty, clock })).to.deep.equal([])
    store.set(FREEZE_KEY, '{')
    for (const work of [readFreezes(ports), freeze('a')]) {
      const error = await failureOf(work)
      expect([error.code, typeof error.hint]).to.deep.equal(['NOT_CONFIGURED', 'string'])
    }
    expect(store.objects.get(FREEZE_KEY)?.text).to.equal('{')
  })
})

describe('changeObject with concurrent writers', () => {
  const add = (more: string) => (text: string | null) => `${text ?? 'new'}${more}`
  /** Another process writes before each of this many first writes. */
  const contested = (times: number) => {
    const store = new FakeStore()
    const { putIf } = store
    const seen: (string | null)[] = []
    store.putIf = async (key, text, etag) => {
      if (seen.length < times) store.set(key, `other-${seen.length}`)
      seen.push(etag)
      return putIf.call(store, key, text, etag)
    }
    return { store, seen, text: () => store.objects.get('key')?.text }
  }

  it('starts from the current text, or from null', async () => {
    const { store, text } = contested(0)
    await changeObject(store, 'key', add(' one'))
    await changeObject(store, 'key', add(' two'))
    expect(text()).to.equal('new one two')
  })

  it('starts again after each concurrent write, four times', async () => {
    const { store, seen, text } = contested(4)
    await changeObject(store, 'key', add(' mine'))
    expect([text(), seen.length]).to.deep.equal(['other-3 mine', 5])
  })

  it('gives up after the fifth attempt, and does not change the object', async () => {
    const { store, seen, text } = contested(5)
    const error = await failureOf(changeObject(store, 'key', add(' mine')))
    expect([error.code, error.hint, seen.length]).to.deep.equal(['UPSTREAM', 'Run the command again.', 5])
    expect(text()).to.equal('other-4')
  })

  it('is made once if the answer to its write was lost', async () => {
    const { store, seen, text } = contested(0)
    store.loseAnswer()
    await changeObject(store, 'key', add(' one'))
    expect([text(), seen.length]).to.deep.equal(['new one', 1])
  })

  it('fails if the object that it read stays deleted', async () => {
    const store = new FakeStore()
    store.putIf = async () => false
    expect((await failureOf(changeObject(store, 'key', add('')))).code).to.equal('UPSTREAM')
  })
})

describe('cancelling', () => {
  const KEY = 'control/cancel/request-0001.json'
  function world(status: 'queued' | 'in_progress' | 'completed' | null) {
    const [runs, store, clock] = [new FakeRuns(), new FakeStore(), new FakeClock()]
    const cancelled: boolean[] = []
    const { cancel } = runs
    runs.cancel = async (id) => {
      cancelled.push(store.objects.has(KEY))
      return cancel.call(runs, id)
    }
    if (status) {
      runs.runs = [runOf(7, { title: 'fleet deploy a [request-0001]', status })]
      runs.jobsOf.set(7, [{ name: 'deploy', steps: [{ name: 'plan', status: 'in_progress', conclusion: null }] }])
    }
    const ports = { runs, store, clock }
    return { runs, store, ports, cancelled, cancel: () => cancelDeploy('request-0001', 'Ada', ports) }
  }

  it('cancels the run of a queued deploy after it has written the cancellation', async () => {
    const { store, runs, cancelled, cancel } = world('queued')
    expect(await cancel()).to.include({ status: 'queued', runId: 7 })
    await cancel()
    expect([runs.cancelled, cancelled]).to.deep.equal([
      [7, 7],
      [true, true],
    ])
    expect(JSON.parse(store.objects.get(KEY)?.text ?? '')).to.deep.equal({ by: 'Ada', at: START })
  })

  it('writes a cancellation for a running deploy, with a run or without, and cancels no run', async () => {
    const running = world('in_progress')
    expect(await running.cancel())
      .to.include({ status: 'running' })
      .and.not.have.property('steps')
    const direct = world(null)
    direct.store.set('deploys/request-0001.json', recordOf({ requestId: 'request-0001' }))
    expect(await direct.cancel()).to.include({ status: 'running' })
    for (const { runs, store } of [running, direct])
      expect([runs.cancelled, store.objects.has(KEY)]).to.deep.equal([[], true])
  })

  it('does not change a deploy that is over, with and without a bucket', async () => {
    const { store, ports, cancel } = world('completed')
    expect(await cancel()).to.include({ status: 'failed' })
    expect(store.objects.size).to.equal(0)
    const without = { ...ports, store: null }
    expect(await cancelDeploy('request-0001', 'Ada', without)).to.include({ status: 'failed' })
    const error = await failureOf(cancelDeploy('request-0001', 'Ada', { ...world('queued').ports, store: null }))
    expect([error.code, error.hint]).to.deep.equal(['NOT_CONFIGURED', 'Set S3_BUCKET, or cancel the run on GitHub.'])
  })

  it('stops only the cancelled deploy, and names the sender if known', async () => {
    const { store, cancel } = world('queued')
    await refuseCancelled('request-0001', store, 'before its next host')
    await cancel()
    await refuseCancelled('request-0002', store, 'before its next host')
    const error = await failureOf(refuseCancelled('request-0001', store, 'before its next host'))
    expect(error.code).to.equal('CANCELLED')
    expect(error.message).to.equal('The deploy was cancelled by Ada: it stopped before its next host.')
    expect(error.hint).to.include('clawctl fleet status')
    store.set(KEY, '{}')
    const unnamed = await failureOf(refuseCancelled('request-0001', store, 'after its plan'))
    expect(unnamed.message).to.equal('The deploy was cancelled: it stopped after its plan.')
  })
})
