import { expect } from 'chai'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import type { ClawctlError } from '../../../src/lib/domain/errors.js'
import { checkDrift, type Drift } from '../../../src/lib/ops/drift/checkDrift.js'
import type { Issue, Issues } from '../../../src/lib/ops/drift/ports.js'
import { failureOf } from '../../support/failure.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { entryOf, hostOf, NEW, OLD, recordOf, registryOf, registrySource } from '../../support/fakes.js'

class FakeIssues implements Issues {
  readonly all: (Issue & { open: boolean; comments: string[] })[] = []
  readonly done: string[] = []

  async open() {
    return this.all.filter(({ open }) => open)
  }

  async create({ body }: { body: string }) {
    const number = this.all.length + 1
    this.done.push(`create ${number}`)
    const issue = { number, url: `https://github.example/issues/${number}`, body, open: true, comments: [] }
    this.all.push(issue)
    return issue
  }

  async update(number: number, body: string) {
    this.done.push(`update ${number}`)
    Object.assign(this.all[number - 1] ?? {}, { body })
  }

  async close(number: number, comment: string) {
    this.done.push(`close ${number}: ${comment}`)
    Object.assign(this.all[number - 1] ?? {}, { open: false })
  }
}

function fleet(existing = ['a', 'b']) {
  const plane = fakeDirectPlane(registryOf('a', 'b'), existing)
  const issues = new FakeIssues()
  return { ...plane, issues, ports: { ...plane.ports, planFile: '/plans/drift', issues } }
}
type World = ReturnType<typeof fleet>

const driftOf = (error: ClawctlError) => error.partial?.drift as Drift

async function drift(world: World, change: Partial<World['ports']> = {}): Promise<string[]> {
  const error = await failureOf(checkDrift({ ...world.ports, ...change }))
  expect(error.code).to.equal('DRIFT')
  return driftOf(error).differences.map(({ kind, subject }) => `${kind} ${subject}`)
}

describe('fleet drift', () => {
  it('finds nothing if everything is as declared, and neither locks nor applies', async () => {
    const world = fleet()
    expect(await checkDrift(world.ports)).to.deep.equal({ differences: [], issueUrl: null })
    expect(world.cloud.log).to.deep.equal(['init', 'plan '])
    expect(world.cloud.planned[0]).to.include({ replace: null })
    expect(world.ports.locks.log).to.deep.equal([])
    expect(world.report.outputs).to.deep.equal({ drift: '0' })
  })

  it('names missing, orphaned and unmanaged instances', async () => {
    const world = fleet(['a'])
    world.cloud.add(hostOf('z'))
    world.cloud.addUnmanaged(hostOf('y'))
    world.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-twin' }))
    expect(await drift(world)).to.deep.equal(['missing b', 'orphan z', 'unmanaged y', 'unmanaged a'])
  })

  it('names an instance that left the registry and EC2, and has only its role in the state', async () => {
    const world = fleet()
    world.cloud.add(hostOf('z'))
    world.cloud.lose('i-z')
    const error = await failureOf(checkDrift(world.ports))
    expect(driftOf(error).differences).to.deep.equal([
      {
        ...{ kind: 'orphan', subject: 'z', fix: 'clawctl fleet deploy --retire z' },
        what: 'is not in the registry and does not run, but the OpenTofu state has its role',
      },
    ])
  })

  it('names an instance that does not serve: EC2 stopped its machine, or a handover was interrupted', async () => {
    const world = fleet()
    for (const { host } of world.cloud.machines) if (host.id === 'a') host.state = 'stopped'
    // The leftover of a deploy runs, but does not serve.
    world.cloud.state_.set(instanceAddress('a', 'b'), world.cloud.launch('a', 'b', { ami: NEW.id, requestId: null }))
    const role = (id: string, instanceId: string, from: string | null) =>
      world.store.set(`active/${id}.json`, { schema: 1, id, instanceId, from, at: 'x' })
    role('a', 'i-a', null)
    role('b', NO_MACHINE, 'i-b')
    const error = await failureOf(checkDrift(world.ports))
    expect(driftOf(error).differences.filter(({ kind }) => kind === 'down')).to.deep.equal([
      {
        ...{ kind: 'down', subject: 'a', fix: 'clawctl fleet recover a' },
        what: 'has the active machine i-a, which is stopped',
      },
      {
        ...{ kind: 'down', subject: 'b', fix: 'clawctl fleet recover b' },
        what: 'has no active machine: a handover was interrupted',
      },
    ])
  })

  it('names what the registry has changed', async () => {
    const world = fleet()
    const registry = registrySource([entryOf('a', { instanceType: 't3.xlarge' }), entryOf('b')])
    expect(await drift(world, { registry })).to.deep.equal(['changed a'])
  })

  it('names differences from the last deploy, and not from an older one', async () => {
    const world = fleet()
    const host = (id: string, instanceId: string, ami: string, outcome: 'replaced' | 'failed' = 'replaced') => ({
      ...{ id, outcome, ami, previousAmi: null, instanceId },
    })
    const record = (n: number, hosts: ReturnType<typeof host>[]) =>
      world.store.set(
        `deploys/request-000${n}.json`,
        recordOf({ requestId: `request-000${n}`, status: 'succeeded', createdAt: `2026-03-0${n}T00:00:00Z`, hosts }),
      )
    record(1, [host('a', 'i-a', OLD.id), host('b', 'i-older', OLD.id)])
    record(2, [host('b', 'i-b', OLD.id), host('a', 'i-other', NEW.id, 'failed')])
    expect(await checkDrift(world.ports)).to.include({ issueUrl: null })
    record(3, [host('a', 'i-gone', NEW.id)])
    expect(await drift(world)).to.deep.equal(['replaced a'])
  })

  it('names what a plan would change in the stack', async () => {
    const world = fleet()
    const change = { actions: ['update'] }
    const type = 'aws_security_group'
    world.cloud.alsoPlanned = [{ address: `${type}.clawdinator`, mode: 'managed', type, change }]
    expect(await drift(world)).to.deep.equal(['stack aws_security_group.clawdinator'])
  })

  it('suggests `deploy all` if the roles of several hosts differ, because the guard refuses one host', async () => {
    const world = fleet(['a'])
    const type = 'aws_iam_role_policy'
    const planned = (id: string) => {
      const address = `${type}.clawdinator["${id}"]`
      return { address, mode: 'managed', type, change: { actions: ['update'] } }
    }
    const fixes = async (...ids: string[]) => {
      world.cloud.alsoPlanned = ids.map(planned)
      const { differences } = driftOf(await failureOf(checkDrift(world.ports)))
      return differences.map(({ kind, fix }) => `${kind}: ${fix}`)
    }
    expect(await fixes('b')).to.deep.equal(['missing: clawctl fleet deploy b', 'stack: clawctl fleet deploy b'])
    const all = 'clawctl fleet deploy all'
    expect(await fixes('a', 'b')).to.deep.equal([`missing: ${all}`, `stack: ${all}`, `stack: ${all}`])
    expect(await fixes('a')).to.deep.equal([`missing: ${all}`, 'stack: clawctl fleet deploy a'])
  })

  it('reports a lost host once, although the plan would create it', async () => {
    const world = fleet()
    world.cloud.lose('i-b')
    expect(await drift(world)).to.deep.equal(['missing b'])
  })

  it('keeps one issue: opened once, updated on changes, closed when nothing differs', async () => {
    const world = fleet(['a'])
    await drift(world)
    await drift(world)
    world.cloud.add(hostOf('z'))
    await drift(world)
    expect(world.issues.done).to.deep.equal(['create 1', 'update 1'])
    expect(world.issues.all[0]?.body).to.include('clawctl fleet deploy --retire z').and.to.include('fleet deploy b')

    world.cloud.lose('i-z')
    for (const address of [...world.cloud.state_.keys()])
      if (address.includes('"z"')) world.cloud.state_.delete(address)
    world.cloud.add(hostOf('b'))
    expect(await checkDrift(world.ports)).to.deep.equal({
      differences: [],
      issueUrl: 'https://github.example/issues/1',
    })
    expect(world.issues.done.slice(2)).to.deep.equal(['close 1: There is no difference any more.'])
  })

  it("does not change people's issues, and closes the second of two of its own", async () => {
    const world = fleet(['a'])
    await world.issues.create({ body: 'The fleet is slow' })
    await drift(world)
    await world.issues.create({ body: world.issues.all[1]?.body ?? '' })
    await drift(world)
    expect(world.issues.done).to.deep.equal(['create 1', 'create 2', 'create 3', 'close 3: Duplicate of #2.'])
  })

  it('opens no issue without --issue', async () => {
    const world = fleet(['a'])
    const error = await failureOf(checkDrift({ ...world.ports, issues: null }))
    expect(driftOf(error).issueUrl).to.equal(null)
    expect(world.issues.done).to.deep.equal([])
  })
})
