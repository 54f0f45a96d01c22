import { expect } from 'chai'
import { Secret, TOTP } from 'otpauth'
import { oneTimeCodes } from '../../../src/lib/adapters/people/oneTimeCodes.js'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { withoutSteps } from '../../../src/lib/domain/deploy/run.js'
import { ClawctlError, type Code } from '../../../src/lib/domain/errors.js'
import { PEOPLE_KEY, parsePeople } from '../../../src/lib/domain/people/people.js'
import type { Registry } from '../../../src/lib/domain/registry/registry.js'
import { type ControlApi, controlApiPlane } from '../../../src/lib/ops/deploy/controlApiPlane.js'
import { directPlane } from '../../../src/lib/ops/deploy/directPlane.js'
import { addPerson } from '../../../src/lib/ops/people/people.js'
import { failureOf } from '../../support/failure.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import {
  detailOf,
  FakeClock,
  FakeProgress,
  FakeRuns,
  freezeOf,
  recordOf,
  registryOf,
  runOf,
} from '../../support/fakes.js'

const ORDER: Order = { target: 'a', requestId: 'request-0001' }
const MINUTE = 60_000
const failure = (code: Code) => async () => Promise.reject(new ClawctlError(code, `No: ${code}.`, { hint: 'Look.' }))

describe('the Control API plane', () => {
  const queued = withoutSteps(detailOf({ status: 'queued', runUrl: 'https://github.example/runs/1' }))
  const fleet = { latestAmi: null, instances: [] }
  const view = { id: 'a', registered: true, active: null, machines: [], deploys: [] }
  const sources = { runs: 'read', records: 'read' } as const

  function world(change: Partial<ControlApi> = {}, local?: Registry | null) {
    const [clock, progress] = [new FakeClock(), new FakeProgress()]
    const asked: unknown[][] = []
    const answer =
      <T>(name: string, value: T) =>
      async (...args: unknown[]) => {
        asked.push([name, ...args])
        return value
      }
    const api: ControlApi = {
      fleet: answer('fleet', fleet),
      host: answer('host', view),
      createDeploy: answer('createDeploy', queued),
      freeze: answer('freeze', [freezeOf('a')]),
      unfreeze: answer('unfreeze', [freezeOf('b')]),
      cancel: answer('cancel', queued),
      deploys: answer('deploys', { deploys: [queued], next: 'cursor', sources }),
      deploy: answer('deploy', { deploy: detailOf({ status: 'succeeded' }), version: null }),
      preflight: async () => [],
      ...change,
    }
    const localRegistry = async () => local ?? undefined
    const plane = controlApiPlane({ api, clock, progress, ...(local === undefined ? {} : { localRegistry }) })
    return { plane, clock, progress, asked }
  }
  const deploy = ({ plane }: ReturnType<typeof world>, wait = false, code?: string) =>
    plane.deploy(ORDER, deployOptions({ wait, waitTimeoutMs: MINUTE, code }))

  it('passes on every request and its answer', async () => {
    const { plane, asked } = world()
    expect(await plane.fleet()).to.equal(fleet)
    expect(await plane.host('a')).to.equal(view)
    expect(await plane.deploys(7)).to.deep.equal([queued])
    expect(await plane.history({ limit: 3, before: 'x' })).to.deep.equal({ deploys: [queued], next: 'cursor', sources })
    expect(await plane.freeze({ target: 'a', reason: 'x' })).to.deep.equal([freezeOf('a')])
    expect(await plane.unfreeze({ target: 'a' })).to.deep.equal([freezeOf('b')])
    expect(await plane.cancel('request-0001', { requestedBy: 'Ada' })).to.equal(queued)
    expect(await plane.deploy(ORDER, deployOptions({ wait: false, code: '123456' }))).to.equal(queued)
    expect(asked).to.deep.equal([
      ['fleet'],
      ['host', 'a'],
      ['deploys', { limit: 7 }],
      ['deploys', { limit: 3, before: 'x' }],
      ['freeze', { target: 'a', reason: 'x' }],
      ['unfreeze', { target: 'a' }],
      ['cancel', 'request-0001', { requestedBy: 'Ada' }],
      ['createDeploy', { ...ORDER, code: '123456' }],
    ])
  })

  it('reports that an id only in the checkout is not merged yet', async () => {
    const unknown = { createDeploy: failure('UNKNOWN_TARGET'), host: failure('UNKNOWN_TARGET') }
    for (const work of [
      (at: ReturnType<typeof world>) => deploy(at),
      (at: ReturnType<typeof world>) => at.plane.host('a'),
    ]) {
      const error = await failureOf(work(world(unknown, registryOf('a'))))
      expect([error.code, error.message]).to.deep.equal([
        'UNKNOWN_TARGET',
        'a is in this checkout, but not merged yet.',
      ])
      expect([error.hint?.includes('registry add'), error.cause instanceof ClawctlError]).to.deep.equal([true, true])
      for (const local of [registryOf('b'), null, undefined])
        expect((await failureOf(work(world(unknown, local)))).message).to.equal('No: UNKNOWN_TARGET.')
    }
    const denied = world({ host: failure('DENIED') }, registryOf('a'))
    expect((await failureOf(denied.plane.host('a'))).code).to.equal('DENIED')
  })

  it('names the request in every failure to send it, and how to find it after a stop', async () => {
    const refused = await failureOf(deploy(world({ createDeploy: failure('FROZEN') })))
    expect(refused).to.deep.include({ code: 'FROZEN', hint: 'Look.', partial: { requestId: 'request-0001' } })
    const stopped = await failureOf(deploy(world({ createDeploy: failure('CANCELLED') })))
    expect(stopped).to.deep.include({ code: 'CANCELLED', partial: { requestId: 'request-0001' } })
    expect(stopped.message).to.include('request-0001 was in flight')
    expect(stopped.hint).to.include('clawctl fleet follow request-0001')
  })

  it('fails with the outcome of a deploy that is over, also without --wait', async () => {
    const error = { code: 'KEPT', message: 'The old host serves.' } as const
    const over = { ...queued, status: 'kept', error } as Deploy
    const failed = await failureOf(deploy(world({ createDeploy: async () => over })))
    expect(failed).to.deep.include({ code: 'KEPT', partial: { deploy: over } })
  })

  it('prints only the request that it follows, with its run if known', async () => {
    const { plane, progress, asked } = world()
    const followed = await plane.deploy(ORDER, deployOptions({ waitTimeoutMs: MINUTE }))
    expect(followed).to.include({ status: 'succeeded' })
    expect(progress.notes).to.deep.equal(['queued as request-0001: https://github.example/runs/1'])
    expect(asked.map(([name]) => name)).to.deep.equal(['createDeploy', 'deploy'])
    const unnamed = world({ createDeploy: async () => ({ ...queued, runUrl: null }) })
    await deploy(unnamed, true)
    expect(unnamed.progress.notes).to.deep.equal(['queued as request-0001'])
    const silent = world()
    await deploy(silent)
    expect(silent.progress.notes).to.deep.equal([])
  })

  it('waits half a minute for the run to be listed; the failure has the last known deploy', async () => {
    const unlisted = world({ deploy: failure('NOT_FOUND') })
    const error = await failureOf(deploy(unlisted, true))
    expect(error).to.deep.include({ code: 'NOT_FOUND', partial: { deploy: queued } })
    expect(unlisted.clock.elapsed).to.be.within(30_000, 36_000)
    const broken = world({ deploy: async () => Promise.reject(new TypeError('broken')) })
    expect((await failureOf(deploy(broken, true))).code).to.equal('INTERNAL')
    const running = detailOf({ status: 'running' })
    const late = await failureOf(deploy(world({ deploy: async () => ({ deploy: running, version: null }) }), true))
    expect(late).to.deep.include({ code: 'TIMED_OUT', partial: { deploy: withoutSteps(running) } })
  })

  it('lets the server hold its answer from the second poll on, unless the server has no versions', async () => {
    const polls: unknown[] = []
    const versions = ['one', 'two', null, null]
    const { plane } = world({
      deploy: async (id, poll) => {
        polls.push([id, poll])
        const status = polls.length < 5 ? 'running' : 'succeeded'
        return { deploy: detailOf({ status }), version: versions[polls.length - 1] ?? null }
      },
    })
    await plane.follow({ requestId: 'request-0001', timeoutMs: MINUTE })
    const at = (poll?: object) => ['request-0001', poll]
    expect(polls).to.deep.equal([at(), at({ wait: 25, seen: 'one' }), at({ wait: 25, seen: 'two' }), at(), at()])
  })
})

describe('the direct plane', () => {
  async function world() {
    const fake = fakeDirectPlane(registryOf('a', 'b'), ['a', 'b'])
    const { clock, store, ports } = fake
    const runs = new FakeRuns()
    const made: string[] = []
    const make = <T>(name: string, value: T) => {
      return async () => {
        made.push(name)
        return value
      }
    }
    const shared = { ...ports, runs }
    const people = { store, clock, codes: oneTimeCodes, registry: registryOf('a', 'b') }
    const plane = directPlane({
      status: make('status', shared),
      host: make('host', shared),
      deploy: make('deploy', shared),
      deploys: make('deploys', shared),
      freeze: make('freeze', people),
    })
    /** The current code of Ada, who is enrolled from now on. */
    const enrol = async () => {
      await addPerson('Ada', people)
      const [person] = parsePeople(store.objects.get(PEOPLE_KEY)?.text ?? '') ?? []
      const secret = Secret.fromBase32(person?.secret ?? '')
      return () => new TOTP({ secret }).generate({ timestamp: clock.now().getTime() })
    }
    return { ...fake, runs, plane, made, enrol, frozen: () => store.objects.get('control/freeze.json')?.text ?? '' }
  }

  it('constructs each port when it is first used', async () => {
    const { plane, runs, store, made } = await world()
    runs.runs = [runOf(2), runOf(1, { status: 'completed', conclusion: 'success' })]
    expect((await plane.fleet()).instances.map(({ id }) => id)).to.deep.equal(['a', 'b'])
    expect((await plane.host('a')).machines).to.have.length(1)
    expect((await plane.deploys(1)).map(({ runId }) => runId)).to.deep.equal([2])
    expect((await plane.history({ limit: 1 })).next).to.be.a('string')
    store.set('deploys/request-0009.json', recordOf({ requestId: 'request-0009', status: 'succeeded' }))
    const followed = await plane.follow({ requestId: 'request-0009', timeoutMs: MINUTE })
    expect(followed).to.include({ status: 'succeeded' }).and.have.property('steps')
    expect(made).to.deep.equal(['status', 'host', 'deploys', 'deploys', 'deploys'])
  })

  it("deploys with the order's identity, or that of a right code", async () => {
    const { plane, enrol, made } = await world()
    const plan = (change: Partial<Order>, code?: string) =>
      plane.deploy({ ...ORDER, ...change }, deployOptions({ planOnly: true, code }))
    expect(await plan({}))
      .to.include({ status: 'planned', requestedBy: null })
      .and.not.have.property('identity')
    const given = { requestId: 'request-0002', requestedBy: 'Ada', identity: 'person claimed' } as const
    expect(await plan(given)).to.include({ identity: 'person claimed' })
    expect(made).to.deep.equal(['deploy', 'deploy'])
    const code = await enrol()
    expect(await plan({ ...given, requestId: 'request-0003' }, code())).to.include({ identity: 'person verified' })
    const caller = { requestId: 'request-0004', requestedBy: 'Ada', caller: 'b' }
    const wrong = await failureOf(plan(caller, '000000'))
    expect(wrong.code).to.equal('CODE_WRONG')
  })

  it('freezes and unfreezes for a person, who needs a code once people are enrolled', async () => {
    const { plane, enrol, clock, frozen } = await world()
    const ask = { target: 'a', requestedBy: 'Ada' }
    const nobody = await failureOf(plane.freeze({ target: 'a', reason: 'x' }))
    expect([nobody.code, nobody.message.includes('for a freeze')]).to.deep.equal(['PERSON_REQUIRED', true])
    const [claimed] = await plane.freeze({ ...ask, reason: 'x', caller: 'b' })
    expect(claimed).to.include({ requestedBy: 'Ada', caller: 'b', identity: 'host claimed, person claimed' })
    const code = await enrol()
    for (const work of [plane.freeze({ ...ask, reason: 'x' }), plane.unfreeze(ask)])
      expect((await failureOf(work)).code).to.equal('CODE_REQUIRED')
    const [verified] = await plane.freeze({ ...ask, reason: 'again', code: code() })
    expect(verified).to.include({ reason: 'again', identity: 'person verified' })
    expect(frozen()).not.to.include(code())
    const used = await failureOf(plane.unfreeze({ ...ask, code: code() }))
    expect(used.code, 'a code is of one purpose').to.equal('CODE_WRONG')
    await clock.sleep(MINUTE)
    expect(await plane.unfreeze({ ...ask, code: code() })).to.deep.equal([])
    const anyone = await failureOf(plane.unfreeze({ target: 'a' }))
    expect(anyone.message).to.include('to end a freeze')
  })

  it('cancels in the name of the sender, verified by a code', async () => {
    const { plane, runs, store, enrol } = await world()
    const by = (id: string) => JSON.parse(store.objects.get(`control/cancel/${id}.json`)?.text ?? '{}').by
    runs.runs = ['request-0001', 'request-0002'].map((id, n) => runOf(n, { title: `fleet deploy a [${id}]` }))
    await plane.cancel('request-0001', { requestedBy: 'Ada', caller: 'b' })
    expect(by('request-0001')).to.equal('Ada (claimed) via b (claimed)')
    const code = await enrol()
    await plane.cancel('request-0002', { requestedBy: 'Ada', code: code() })
    expect([by('request-0002'), runs.cancelled]).to.deep.equal(['Ada (verified)', [0, 1]])
    const again = await failureOf(plane.cancel('request-0001', { requestedBy: 'Ada', code: code() }))
    expect(again.code, 'a code is of one deploy').to.equal('CODE_WRONG')
  })
})
