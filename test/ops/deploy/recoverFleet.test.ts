import { expect } from 'chai'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import type { Recovery } from '../../../src/lib/domain/deploy/recovery.js'
import { ID_TYPES, idAddress, instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { type RecoverOptions, recoverFleet } from '../../../src/lib/ops/deploy/recoverFleet.js'
import { UNWRITTEN_KEY } from '../../../src/lib/ops/deploy/unwrittenState.js'
import { failureOf } from '../../support/failure.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, lockOf, NEW, REQUEST_ID, recordOf, registryOf, runOf, START, upstream } from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>
const NOTHING: RecoverOptions = { id: null, planOnly: false, unlock: null, terminate: null }

const fleet = (existing = ['a', 'b']) => fakeDirectPlane(registryOf('a', 'b'), existing)
const active = (plane: Plane, id: string, instanceId: string) =>
  plane.store.set(`active/${id}.json`, { schema: 1, id, instanceId, from: null, at: START })
const recover = (plane: Plane, options: Partial<RecoverOptions> = {}) =>
  recoverFleet({ ...NOTHING, ...options }, plane.ports)
const deploy = (plane: Plane, target: string) =>
  deployFleet({ target, requestId: REQUEST_ID }, deployOptions(), plane.ports)
const changed = ({ cloud }: Plane) => cloud.log.filter((line) => /^(?:apply|stop|terminate|untaint)/.test(line))

/** A deploy of a, which did not exist, was killed: its resources exist outside of the state. */
function killed({ machine }: { machine: boolean }): Plane {
  const plane = fleet(['b'])
  for (const type of ID_TYPES) plane.cloud.leftovers.add(idAddress(type, 'a'))
  active(plane, 'a', NO_MACHINE)
  if (machine) plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-left', slot: 'a' }))
  return plane
}

describe('a deploy after a killed one', () => {
  for (const machine of [false, true]) {
    it(`adopts roles and profile${machine ? ', ends the machine that never served,' : ''} and continues`, async () => {
      const plane = killed({ machine })
      const done = await deploy(plane, 'a')
      expect(done.hosts[0]).to.include({ outcome: 'created', instanceId: 'i-new-1' })
      expect(changed(plane)).to.deep.equal([
        ...(machine ? ['terminate i-left'] : []),
        'apply import instance_profile:a import role:a import role_policy:a create a',
      ])
      expect(plane.cloud.hosts.map(({ instanceId }) => instanceId)).to.deep.equal(['i-b', 'i-new-1'])
      expect(plane.progress.notes).to.include('Adopts role a: it exists, but not in the state.')
    })
  }

  it('is not blocked by another instance whose role is in the state without policy and profile', async () => {
    const plane = fleet(['b'])
    plane.cloud.state_.set(idAddress('aws_iam_role', 'a'), 'a')
    plane.cloud.leftovers.add(idAddress('aws_iam_instance_profile', 'a'))
    expect((await deploy(plane, 'b')).status).to.equal('succeeded')
    expect(changed(plane)[0]).to.equal('apply import instance_profile:a create role_policy:a create b/b')
  })

  it('sends no request to IAM if the state is complete', async () => {
    const plane = fleet()
    await deploy(plane, 'a')
    expect(plane.cloud.log.filter((line) => line.startsWith('look for'))).to.deep.equal([])
  })

  it('keeps tainted resources of an interrupted apply, of any host', async () => {
    const plane = fleet()
    const marked = [instanceAddress('b'), idAddress('aws_iam_role', 'b')]
    for (const address of marked) plane.cloud.tainted.add(address)
    expect((await deploy(plane, 'a')).status).to.equal('succeeded')
    expect(changed(plane).slice(0, 2).sort()).to.deep.equal(marked.map((address) => `untaint ${address}`).sort())
    expect(plane.cloud.hosts.map(({ instanceId }) => instanceId)).to.include('i-b')
  })
})

describe('a state that OpenTofu could not store', () => {
  const later = JSON.stringify({ version: 4, lineage: 'lineage', serial: 2 })

  it('is stored by the next deploy if it follows the stored one', async () => {
    const plane = fleet()
    plane.store.set(UNWRITTEN_KEY, later)
    await deploy(plane, 'a')
    expect(plane.cloud.pushed).to.deep.equal([later])
    expect(plane.store.objects.has(UNWRITTEN_KEY)).to.equal(false)
    expect(plane.progress.notes.join()).to.include(
      `${UNWRITTEN_KEY} holds a state that an apply could not store: it is stored.`,
    )
  })

  it('is removed if a later one is stored, and kept if its lineage differs', async () => {
    const old = fleet()
    old.store.set(UNWRITTEN_KEY, JSON.stringify({ ...JSON.parse(later), serial: 1 }))
    await deploy(old, 'a')
    expect(old.store.objects.has(UNWRITTEN_KEY)).to.equal(false)
    const foreign = fleet()
    foreign.store.set(UNWRITTEN_KEY, JSON.stringify({ ...JSON.parse(later), lineage: 'other' }))
    await deploy(foreign, 'a')
    expect(foreign.store.objects.has(UNWRITTEN_KEY)).to.equal(true)
    for (const { cloud } of [old, foreign]) expect(cloud.pushed).to.deep.equal([])
  })

  /** An apply whose state can't be stored. */
  function failing() {
    const plane = fleet()
    plane.cloud.afterApply = () => {
      plane.cloud.unwritten_ = later
      throw upstream()
    }
    return plane
  }

  it('is stored immediately if that is possible again', async () => {
    const plane = failing()
    const error = await failureOf(deploy(plane, 'a'))
    expect(error.message).to.include('it is stored now')
    expect(plane.cloud.pushed).to.deep.equal([later])
    expect(plane.cloud.unwritten_).to.equal(null)
  })

  it('is otherwise kept in the bucket, and the deploy reports it', async () => {
    const plane = failing()
    plane.cloud.beforePush = () => {
      throw upstream()
    }
    const error = await failureOf(deploy(plane, 'a'))
    expect(error.message).to.include(`it is kept in ${UNWRITTEN_KEY}, and the next deploy stores it`)
    expect(plane.store.objects.get(UNWRITTEN_KEY)?.text).to.equal(later)
  })

  it('stays on the machine without S3, and the deploy names the place', async () => {
    const plane = failing()
    plane.cloud.beforePush = () => {
      throw upstream()
    }
    plane.store.beforePut = (key) => {
      if (key === UNWRITTEN_KEY) throw upstream()
    }
    const error = await failureOf(deploy(plane, 'a'))
    expect(error.message).to.include('it is in /stack/errored.tfstate on this machine')
    expect(plane.cloud.unwritten_).to.equal(later)
  })
})

describe('fleet recover', () => {
  it('finds nothing if there is no difference, and changes nothing', async () => {
    const plane = fleet()
    expect(await recover(plane)).to.deep.equal({ findings: [] })
    expect(changed(plane)).to.deep.equal([])
    expect([plane.cloud.planned, plane.store.puts, plane.progress.notes]).to.deep.equal([[], [], []])
    expect(plane.ports.locks.log).to.deep.equal(['take', 'release mine'])
  })

  it('imports existing objects, destroys candidates, and removes lost machines from the state, in one run', async () => {
    const plane = killed({ machine: true })
    plane.cloud.lose('i-b')
    const { findings } = await recover(plane)
    expect(findings.map(({ kind, done }) => `${kind} ${done}`)).to.have.members([
      'machine true',
      'machine true',
      'object true',
      'object true',
      'object true',
    ])
    expect(changed(plane)).to.deep.equal([
      'terminate i-left',
      'apply import instance_profile:a import role:a import role_policy:a',
    ])
    expect(await recover(plane)).to.deep.equal({ findings: [] })
  })

  it('imports a serving machine, and plans no other', async () => {
    const plane = fleet(['b'])
    plane.cloud.addUnmanaged(hostOf('a'))
    active(plane, 'a', 'i-a')
    for (const type of ID_TYPES) plane.cloud.leftovers.add(idAddress(type, 'a'))
    await recover(plane, { id: 'a' })
    expect(changed(plane)).to.deep.equal([
      'apply import instance_profile:a import role:a import role_policy:a import a',
    ])
    expect(plane.cloud.state_.get(instanceAddress('a'))).to.equal('i-a')
    expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
  })

  it('imports an unregistered machine with the bundle of its launch', async () => {
    const plane = fleet(['b'])
    plane.cloud.addUnmanaged(hostOf('orphan', { bootstrapPrefix: 'bootstrap/old' }))
    active(plane, 'orphan', 'i-orphan')
    for (const type of ID_TYPES) plane.cloud.leftovers.add(idAddress(type, 'orphan'))
    await recover(plane, { id: 'orphan' })
    expect(plane.cloud.planned.at(-1)?.kept).to.include({ orphan: 'bootstrap/old' })
    expect(plane.cloud.state_.get(instanceAddress('orphan'))).to.equal('i-orphan')
  })

  it('shows the same with --plan-only and changes nothing', async () => {
    const plane = killed({ machine: true })
    plane.ports.locks.standing = lockOf()
    plane.cloud.tainted.add(instanceAddress('b'))
    const { findings } = await recover(plane, { planOnly: true })
    expect(findings.map(({ kind }) => kind)).to.deep.equal(['lock', 'tainted', 'machine', 'object', 'object', 'object'])
    expect(findings.every(({ done }) => !done)).to.equal(true)
    expect(changed(plane)).to.deep.equal([])
    expect(plane.ports.locks.log).to.deep.equal([])
  })

  it('does not report an import as done if its apply failed', async () => {
    const plane = killed({ machine: false })
    plane.ports.locks.standing = lockOf()
    const runs = { find: async (id: number) => runOf(id, { status: 'completed' }) }
    plane.ports.tofu.apply = () => Promise.reject(upstream())
    const { code, partial } = await failureOf(recoverFleet(NOTHING, { ...plane.ports, runs }))
    expect(code).to.equal('UPSTREAM')
    const recovery = partial?.recovery as Recovery
    expect(recovery.findings.map(({ kind, done }) => `${kind} ${done}`)).to.deep.equal([
      'lock true',
      'object false',
      'object false',
      'object false',
    ])
  })

  it('leaves two machines without a named one to a person, and destroys the one that the person names', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-second', launchedAt: START }))
    const error = await failureOf(recover(plane))
    expect(error.code).to.equal('DRIFT')
    expect(error.details.join()).to.include('clawctl fleet recover a --terminate i-second')
    expect(plane.cloud.hosts).to.have.length(3)
    const { findings } = await recover(plane, { id: 'a', terminate: 'i-second' })
    expect(findings).to.deep.equal([
      { kind: 'machine', subject: 'a', what: 'has i-second', fix: 'it is destroyed', automatic: true, done: true },
    ])
    expect(plane.cloud.hosts.map(({ instanceId }) => instanceId)).to.deep.equal(['i-a', 'i-b'])
  })

  it('releases a named lock, and the lock of a run that is over', async () => {
    const plane = fleet()
    plane.ports.locks.standing = lockOf({ Info: '' })
    expect((await failureOf(recover(plane))).code).to.equal('STATE_LOCKED')
    expect((await failureOf(recover(plane, { unlock: 'other' }))).code).to.equal('USAGE')
    await recover(plane, { unlock: 'lock-1' })
    expect(plane.ports.locks.standing).to.equal(null)

    plane.ports.locks.standing = lockOf()
    const runs = { find: async (id: number) => runOf(id, { status: 'completed' }) }
    const { findings } = await recoverFleet(NOTHING, { ...plane.ports, runs })
    expect(findings.map(({ kind, done }) => `${kind} ${done}`)).to.deep.equal(['lock true'])
    expect(plane.ports.locks.standing).to.equal(null)
  })

  it('restores a role that an interrupted handover left without a machine, and ends records of finished runs', async () => {
    const plane = fleet()
    plane.store.set('active/a.json', { schema: 1, id: 'a', instanceId: NO_MACHINE, from: 'i-a', at: START })
    plane.store.set('deploys/request-0009.json', recordOf({ requestId: 'request-0009', runId: 9 }))
    plane.store.set('deploys/request-0010.json', recordOf({ requestId: 'request-0010', runId: 10 }))
    const runs = { find: async (id: number) => runOf(id, { status: id === 9 ? 'completed' : 'in_progress' }) }
    const { findings } = await recoverFleet(NOTHING, { ...plane.ports, runs })
    expect(findings.map(({ kind, subject }) => `${kind} ${subject}`)).to.deep.equal(['role a', 'record request-0009'])
    expect(plane.store.objects.get('active/a.json')?.text).to.include('"instanceId":"i-a"')
    expect(plane.store.objects.get('deploys/request-0009.json')?.text).to.include('"status":"failed"')
    expect(plane.store.objects.get('deploys/request-0010.json')?.text).to.include('"status":"running"')
  })

  describe('if EC2 has stopped the machine with the role', () => {
    /** A deploy of a left a candidate that is ready. */
    function stopped() {
      const plane = fleet()
      plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
      for (const { host } of plane.cloud.machines) if (host.instanceId === 'i-a') host.state = 'stopped'
      active(plane, 'a', 'i-a')
      return plane
    }

    it('starts that machine, and only then destroys candidates', async () => {
      const plane = stopped()
      const { findings } = await recover(plane)
      expect(findings.map(({ what, done }) => `${what} ${done}`)).to.deep.equal([
        'has the active machine i-a, which is stopped true',
        'has the candidate i-new-1, which never became active true',
      ])
      expect(plane.progress.notes[0]).to.equal('the active machine i-a is stopped: EC2 starts it')
      expect(plane.cloud.log.filter((line) => /^(?:start|terminate)/.test(line))).to.deep.equal([
        'start i-a',
        'terminate i-new-1',
      ])
      await plane.clock.sleep(120_000)
      expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
      expect(await recover(plane)).to.deep.equal({ findings: [] })
    })

    it("destroys nothing if the machine can't be started, or with --plan-only", async () => {
      const plane = stopped()
      plane.cloud.start = async () => {
        throw upstream()
      }
      expect((await failureOf(recover(plane))).code).to.equal('FENCE_FAILED')
      expect((await recover(plane, { planOnly: true })).findings).to.have.length(2)
      expect(changed(plane)).to.deep.equal([])
    })
  })

  it('leaves the last machine of an instance to a deploy if the active one is lost', async () => {
    const plane = fleet()
    plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    active(plane, 'a', 'i-a')
    plane.cloud.lose('i-a')
    const error = await failureOf(recover(plane, { id: 'a' }))
    expect(error.code).to.equal('DRIFT')
    expect(error.details.join()).to.include('i-new-1').and.to.include('clawctl fleet deploy a')
    expect(plane.cloud.hosts.map(({ instanceId }) => instanceId)).to.include('i-new-1')
  })

  it('reports an object that does not name a machine, skips its id, and corrects the others', async () => {
    const plane = fleet()
    plane.store.set('active/a.json', {})
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-second', launchedAt: START }))
    plane.store.set('active/b.json', { schema: 1, id: 'b', instanceId: NO_MACHINE, from: 'i-b', at: START })
    const error = await failureOf(recover(plane))
    expect(error.code).to.equal('DRIFT')
    expect(error.details.join()).to.include('active/a.json does not name a machine')
    expect(error.partial?.recovery).to.have.nested.property('findings[1].subject', 'b')
    expect(plane.store.objects.get('active/b.json')?.text).to.include('"instanceId":"i-b"')
    expect(plane.store.objects.get('active/a.json')?.text).to.equal('{}')
    expect(plane.cloud.hosts).to.have.length(3)
  })

  it('ends where an object cannot be read, and leaves the records of deploys that are over', async () => {
    const plane = fleet()
    plane.ports.locks.run = 'https://github.example/o/r/actions/runs/9/attempts/1'
    const record = JSON.stringify(recordOf({ requestId: 'request-0009', runId: 9, status: 'succeeded' }))
    plane.store.set('deploys/request-0009.json', record)
    expect((await recover(plane)).findings).to.deep.equal([])
    expect(plane.store.objects.get('deploys/request-0009.json')?.text).to.equal(record)
    const get = plane.store.get.bind(plane.store)
    plane.store.get = (key) => (key === 'active/a.json' ? Promise.reject(upstream()) : get(key))
    expect((await failureOf(recover(plane))).code).to.equal('UPSTREAM')
  })

  it('refuses an unknown id', async () => {
    expect((await failureOf(recover(fleet(), { id: 'nobody' }))).code).to.equal('UNKNOWN_TARGET')
  })
})
