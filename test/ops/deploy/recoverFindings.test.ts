import { expect } from 'chai'
import type { DeployRecord } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import type { Recovery } from '../../../src/lib/domain/deploy/recovery.js'
import { ID_TYPES, idAddress, instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { type RecoverOptions, type RecoverPorts, recoverFleet } from '../../../src/lib/ops/deploy/recoverFleet.js'
import { UNWRITTEN_KEY } from '../../../src/lib/ops/deploy/unwrittenState.js'
import { failureOf } from '../../support/failure.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, lockOf, NEW, OLD, recordOf, registryOf, runOf, START, upstream } from '../../support/fakes.js'

import { change } from '../../support/plans.js'

type Plane = ReturnType<typeof fakeDirectPlane>
const HOUR = 60 * 60_000

const fleet = (existing = ['a', 'b']) => fakeDirectPlane(registryOf('a', 'b'), existing)
const recover = (plane: Plane, options: Partial<RecoverOptions> = {}, ports: Partial<RecoverPorts> = {}) =>
  recoverFleet({ id: null, planOnly: false, unlock: null, terminate: null, ...options }, { ...plane.ports, ...ports })
const changed = ({ cloud }: Plane) =>
  cloud.log.filter((line) => /^(?:plan|apply|stop|start|terminate|untaint)/.test(line))
const lines = (findings: Recovery['findings']) => findings.map(({ subject, what, fix }) => `${subject} ${what}: ${fix}`)
const name = ({ store }: Plane, id: string, instanceId: string, from: string | null = null) =>
  store.set(`active/${id}.json`, { schema: 1, id, instanceId, from, at: START })

describe('what fleet recover reports', () => {
  it('is one line per finding in the step summary, or that there is no difference', async () => {
    const plane = fleet()
    await recover(plane)
    expect(plane.report.summaries).to.deep.equal(['There is no difference.'])
    plane.cloud.tainted.add(instanceAddress('b'))
    plane.cloud.lose('i-a')
    await recover(plane)
    expect(plane.report.summaries[1]).to.equal(
      [
        `- ${instanceAddress('b')} was interrupted during its creation: it is kept.`,
        '- a has i-a in the state, which no longer exists in EC2: it is removed from the state.',
      ].join('\n'),
    )
  })

  it('is empty after the state has removed what no longer exists in EC2', async () => {
    const plane = fleet()
    plane.cloud.lose('i-a')
    expect((await recover(plane)).findings).to.have.length(1)
    expect(await recover(plane)).to.deep.equal({ findings: [] })
    expect(plane.cloud.planned).to.have.length(1)
  })

  it('does not fail a plan-only run, also if a person has to decide', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-second', launchedAt: START }))
    expect((await recover(plane, { planOnly: true })).findings).to.have.length(1)
    const error = await failureOf(recover(plane))
    expect(error.partial).to.have.nested.property('recovery.findings').with.length(1)
  })

  it('is kept in the error of a later failure', async () => {
    const plane = fleet()
    plane.ports.locks.standing = lockOf({ Info: '' })
    const error = await failureOf(recover(plane, { id: 'nobody', unlock: 'lock-1' }))
    expect(error.code).to.equal('UNKNOWN_TARGET')
    expect(error.hint).to.include('leave it out')
    expect(error.partial).to.have.nested.property('recovery.findings[0].kind', 'lock')
    const look = await failureOf(recover(plane, { id: 'nobody', planOnly: true }))
    expect(look.code).to.equal('UNKNOWN_TARGET')
  })

  it("is only the state's digest if OpenTofu can't read the state because of it", async () => {
    const plane = fleet()
    plane.ports.locks.hasStaleDigest = async () => true
    plane.cloud.state = () => Promise.reject(upstream())
    const { findings } = await recover(plane, { planOnly: true })
    expect(findings[0]).to.include({ automatic: true, done: false })
    expect(lines(findings)).to.deep.equal([
      "state/fleet.tfstate can't be read: the lock table has the digest of another state, so nothing else was compared: that digest is removed",
    ])
    expect(changed(plane)).to.deep.equal([])
    // Its holder may be storing the state at this moment.
    plane.ports.locks.standing = lockOf({ Info: '' })
    expect((await failureOf(recover(plane, { planOnly: true }))).code).to.equal('UPSTREAM')
  })

  it('names the holder of a lock, and the command to type', async () => {
    const plane = fleet()
    plane.ports.locks.standing = lockOf({ Info: '' })
    const of = async (options: Partial<RecoverOptions>, ports: Partial<RecoverPorts> = {}) =>
      lines((await recover(plane, { planOnly: true, ...options }, ports)).findings)
    const held = `lock-1 is a lock of the state, held by runner@fv-az1 since ${START}`
    expect(await of({})).to.deep.equal([`${held}: wait for it, or clawctl fleet recover --unlock lock-1`])
    expect(await of({ unlock: 'lock-1' })).to.deep.equal([`${held}: it is released`])
    expect(plane.ports.locks.standing).to.not.equal(null)
    plane.ports.locks.standing = lockOf()
    const runs = { find: async (id: number) => runOf(id, { status: 'completed' }) }
    expect((await of({}, { runs }))[0]).to.match(/attempts\/1 since .*, whose process is over: it is released$/)
    const error = await failureOf(recover(plane, { unlock: 'other' }))
    expect(error.hint).to.include('fleet recover --plan-only')
    plane.ports.locks.held = async () => [lockOf({ ID: 'lock-0', Info: '' }), lockOf({ Info: '' })]
    expect(await of({ unlock: 'lock-1' })).to.have.length(2)
  })
})

describe('a machine that a person destroys with fleet recover', () => {
  it('is only shown with --plan-only, and must be one of the fleet', async () => {
    const plane = fleet()
    const { findings } = await recover(plane, { terminate: 'i-a', planOnly: true })
    expect(lines(findings)).to.include('a has i-a: it is destroyed')
    expect(changed(plane)).to.deep.equal([])
    const error = await failureOf(recover(plane, { terminate: 'i-x' }))
    expect([error.code, error.message]).to.deep.equal(['USAGE', 'EC2 has no machine i-x of the fleet.'])
    expect(error.hint).to.include('clawctl fleet status')
  })
})

describe('a machine that never became active', () => {
  it('is destroyed by a plan if the state has it; the plan may correct the role of its id', async () => {
    const plane = fleet()
    name(plane, 'a', 'i-a')
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', slot: 'b', launchedAt: START }))
    plane.cloud.state_.set(instanceAddress('a', 'b'), 'i-x')
    plane.cloud.alsoPlanned = [change('aws_iam_role', 'a', ['update'])]
    await recover(plane)
    expect(changed(plane)).to.deep.equal(['plan delete a/b', 'apply delete a/b'])
  })
})

describe('an import of fleet recover', () => {
  const unmanaged = (slot: 'a' | 'b' | null) => {
    const plane = fleet(['b'])
    plane.cloud.addUnmanaged(hostOf('a', { slot }))
    name(plane, 'a', 'i-a')
    return plane
  }

  it('puts a machine into the slot of its tag, else into a free one', async () => {
    const adopted = async (plane: Plane) => {
      await recover(plane)
      return plane.cloud.planned[0]?.adopt.instances
    }
    expect(await adopted(unmanaged('b'))).to.deep.equal({ 'a/b': 'i-a' })
    expect(await adopted(unmanaged(null))).to.deep.equal({ a: 'i-a' })
    const beside = unmanaged(null)
    beside.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', launchedAt: START }))
    beside.cloud.state_.set(instanceAddress('a'), 'i-x')
    // The machine in slot a never became active, so it is destroyed.
    expect((await recover(beside)).findings.map(({ what }) => what)).to.include(
      'has the candidate i-x, which never became active',
    )
    expect(beside.cloud.planned.at(-1)?.adopt.instances).to.deep.equal({ 'a/b': 'i-a' })
  })

  it('is planned with an existing AMI, since the plan launches nothing', async () => {
    const ami = async (plane: Plane) => {
      await recover(plane)
      return plane.cloud.planned[0]?.ami
    }
    expect(await ami(unmanaged('a'))).to.equal(OLD.id)
    const alone = () => {
      const plane = fleet([])
      plane.cloud.leftovers.add(idAddress('aws_iam_role', 'a'))
      return plane
    }
    expect(await ami(alone())).to.equal(NEW.id)
    const bare = alone()
    bare.cloud.images = []
    expect(await ami(bare)).to.equal('ami-00000000')
    expect(bare.cloud.planned[0]).to.deep.include({ slots: { a: [] }, file: '/plans/recover-1' })
  })

  for (const type of ID_TYPES) {
    it(`contains ${type} of an id alone, with its dependent objects`, async () => {
      const plane = fleet(['b'])
      plane.cloud.leftovers.add(idAddress(type, 'a'))
      await recover(plane)
      for (const each of ID_TYPES) expect(plane.cloud.state_.get(idAddress(each, 'a'))).to.be.a('string')
      expect(changed(plane).filter((line) => line.startsWith('apply'))).to.have.length(1)
    })
  }

  it('contains no objects of ids other than the named one, or of invalid names', async () => {
    const plane = fleet([])
    for (const id of ['a', 'b']) plane.cloud.leftovers.add(idAddress('aws_iam_role', id))
    plane.cloud.addUnmanaged(hostOf('../odd', { instanceId: 'i-odd' }))
    await recover(plane, { id: 'a' })
    expect(plane.cloud.leftovers).to.deep.equal(new Set([idAddress('aws_iam_role', 'b')]))
    await recover(plane)
    expect(plane.cloud.log.filter((line) => line.startsWith('look for') && line.includes('odd'))).to.deep.equal([])
    expect(plane.cloud.hosts.map(({ instanceId }) => instanceId)).to.deep.equal(['i-odd'])
  })

  it('includes ids that only the state or EC2 has', async () => {
    const plane = fleet([])
    plane.cloud.state_.set(idAddress('aws_iam_role', 'y'), 'y')
    plane.cloud.addUnmanaged(hostOf('z'))
    for (const id of ['y', 'z']) {
      expect((await recover(plane, { id, planOnly: true })).findings.every(({ subject }) => subject === id)).to.equal(
        true,
      )
    }
  })

  it("includes the fleet's group if the state lacks it", async () => {
    const plane = fleet()
    plane.cloud.group = 'sg-1'
    const { findings } = await recover(plane, { planOnly: true })
    expect(lines(findings)).to.deep.equal(['security group sg-1 is not in the state: it is imported'])
    plane.cloud.state_.set('aws_security_group.clawdinator', 'sg-1')
    expect((await recover(plane, { planOnly: true })).findings).to.deep.equal([])
  })
})

describe('fleet recover with --plan-only', () => {
  it('does not remove from the state, restore roles or destroy', async () => {
    const plane = fleet()
    plane.cloud.lose('i-b')
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', launchedAt: START }))
    name(plane, 'a', NO_MACHINE, 'i-a')
    plane.store.set(UNWRITTEN_KEY, JSON.stringify({ version: 4, lineage: 'lineage', serial: 2 }))
    const before = new Map(plane.store.objects)
    const { findings } = await recover(plane, { planOnly: true })
    expect(findings.map(({ kind }) => kind)).to.deep.equal(['state', 'role', 'machine', 'machine'])
    expect(changed(plane)).to.deep.equal([])
    expect(plane.store.objects).to.deep.equal(before)
    await recover(plane)
    expect(plane.store.objects.has(UNWRITTEN_KEY)).to.equal(false)
    expect(plane.cloud.pushed).to.have.length(1)
    expect(changed(plane)).to.include('terminate i-x')
  })

  it('reports a state that its own apply could not store', async () => {
    const plane = fleet()
    plane.cloud.lose('i-b')
    plane.cloud.leftovers.add(idAddress('aws_iam_role', 'b'))
    plane.cloud.state_.delete(idAddress('aws_iam_role', 'b'))
    plane.cloud.afterApply = () => {
      plane.cloud.unwritten_ = JSON.stringify({ version: 4, lineage: 'lineage', serial: 2 })
    }
    await recover(plane)
    expect(plane.progress.notes).to.include('OpenTofu could not store its state at first; it is stored now.')
  })
})

describe('records that still have `running`', () => {
  const KEY = 'deploys/request-0009.json'
  const ended = async (
    record: Partial<DeployRecord>,
    runs: RecoverPorts['runs'],
    { after = 0, planOnly = false } = {},
  ) => {
    const plane = fleet()
    plane.store.set(KEY, recordOf({ requestId: 'request-0009', ...record }))
    await plane.clock.sleep(after)
    const { findings } = await recover(plane, { planOnly }, { runs })
    const now = JSON.parse(plane.store.objects.get(KEY)?.text ?? '{}') as DeployRecord
    return { status: now.status, findings: lines(findings), now }
  }
  const found = ['request-0009 is recorded as running, but its run is over: its record is set to failed']
  const finding = (status: 'completed' | 'in_progress') => ({ find: async (id: number) => runOf(id, { status }) })

  it('are set to failed if their run is over', async () => {
    const { now, findings } = await ended({ runId: 9 }, finding('completed'))
    expect(now).to.deep.include({ status: 'failed', finishedAt: START })
    expect(now.error).to.include({ code: 'DEPLOY_FAILED', message: 'The run was lost.' })
    expect(findings).to.deep.equal(found)
    expect(await ended({ runId: 9 }, finding('completed'), { planOnly: true })).to.deep.include({
      status: 'running',
      findings: found,
    })
  })

  it('are set to cancelled if an earlier step of the same run wrote them', async () => {
    const plane = fleet()
    plane.ports.locks.run = 'https://github.example/o/r/actions/runs/9/attempts/1'
    for (const runId of [9, 10])
      plane.store.set(`deploys/request-${runId}.json`, recordOf({ requestId: `request-${runId}`, runId }))
    await recover(plane, {}, { runs: finding('in_progress') })
    const [now, other] = [9, 10].map((id) =>
      JSON.parse(plane.store.objects.get(`deploys/request-${id}.json`)?.text ?? '{}'),
    )
    expect(now).to.deep.include({ status: 'cancelled', finishedAt: START })
    expect(now.error).to.include({ code: 'CANCELLED' })
    expect(other.status).to.equal('running')
  })

  const table: [
    why: string,
    record: Partial<DeployRecord>,
    runs: RecoverPorts['runs'],
    after: number,
    status: string,
  ][] = [
    ['are kept while their run goes on, however long', { runId: 9 }, finding('in_progress'), 3 * HOUR, 'running'],
    [
      'are kept if they already have another status',
      { runId: 9, status: 'succeeded' },
      finding('completed'),
      0,
      'succeeded',
    ],
    ['are kept for two hours without a run', {}, null, 2 * HOUR, 'running'],
    ['fail after two hours without a run', {}, finding('in_progress'), 2 * HOUR + 1, 'failed'],
    ['fail after two hours without a credential for GitHub', { runId: 9 }, null, 2 * HOUR + 1, 'failed'],
    [
      'are kept for two hours while GitHub does not answer',
      { runId: 9 },
      { find: () => Promise.reject(upstream()) },
      2 * HOUR,
      'running',
    ],
  ]
  for (const [why, record, runs, after, status] of table) {
    it(why, async () => expect((await ended(record, runs, { after })).status).to.equal(status))
  }
})
