import { expect } from 'chai'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { BOOT_LINE } from '../../../src/lib/domain/images/names.js'
import { type SmokeMachines, type SmokeTags, smokeImage } from '../../../src/lib/ops/images/smokeImage.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeProgress, FakeReport } from '../../support/fakes.js'

const AMI = 'ami-1'
const OPTIONS = { ami: AMI, type: undefined, subnet: null, timeoutMs: 600_000, withdraw: false }

/** An account that does not show new resources for a number of calls, and whose answers may get lost. */
class FakeAccount {
  readonly groups = new Map<string, { name: string; closed: boolean; tags: SmokeTags }>()
  readonly running = new Map<string, { group: string; tags: SmokeTags }>()
  unknownFor = 0
  /** The call that takes effect, but whose first answer is lost. */
  lost: 'createGroup' | 'launch' | null = null
  console = BOOT_LINE
  readonly clock = new FakeClock()
  readonly progress = new FakeProgress()
  readonly #young = new Map<string, number>()

  run(change: Partial<typeof OPTIONS> = {}) {
    const { clock, progress } = this
    const ports = { machines: this.#machines(), clock, tidyClock: clock, progress, report: new FakeReport() }
    return smokeImage({ ...OPTIONS, ...change }, ports)
  }

  get left(): string[] {
    return [...this.groups.keys(), ...this.running.keys()]
  }

  #isUnknown(id: string): boolean {
    const left = this.#young.get(id) ?? this.unknownFor
    this.#young.set(id, left - 1)
    return left > 0
  }

  #mustBeKnown(id: string, name: string): void {
    if (this.#isUnknown(id)) throw notFound(id, name)
  }

  #machines(): SmokeMachines {
    return {
      image: async (id) => (this.#isUnknown(id) ? null : { architecture: 'x86_64', available: true }),
      tagged: async () => ({
        instances: [...this.running].map(([id, { tags }]) => ({ id, ...tags })),
        groups: [...this.groups].map(([id, { tags }]) => ({ id, ...tags })),
      }),
      createGroup: async (name, tags) => {
        if ([...this.groups.values()].some((group) => group.name === name)) return null
        const id = `sg-${this.groups.size + 1}`
        this.groups.set(id, { name, closed: false, tags })
        // The SDK repeats the call, and finds the group that it has created.
        return this.lost === 'createGroup' ? null : id
      },
      findGroup: async (name) => {
        const [id] = [...this.groups].find(([, group]) => group.name === name) ?? []
        return id === undefined || this.#isUnknown(id) ? null : id
      },
      closeGroup: async (id) => {
        this.#mustBeKnown(id, 'InvalidGroup.NotFound')
        const group = this.groups.get(id)
        if (group) group.closed = true
      },
      launch: async ({ group, tags }) => {
        this.#mustBeKnown(group, 'InvalidGroup.NotFound')
        expect(this.groups.get(group)?.closed).to.equal(true)
        const id = `i-${this.running.size + 1}`
        this.running.set(id, { group, tags })
        if (this.lost === 'launch') throw new ClawctlError('UPSTREAM', 'EC2 RunInstances failed (ECONNRESET).')
        return id
      },
      look: async () => ({ state: 'running', checks: 'ok' }),
      console: async () => this.console,
      terminate: async (id) => {
        this.#mustBeKnown(id, 'InvalidInstanceID.NotFound')
        if (!this.running.delete(id)) throw notFound(id, 'InvalidInstanceID.NotFound')
      },
      withdraw: async (ami) => this.#mustBeKnown(ami, 'InvalidAMIID.NotFound'),
      deleteGroup: async (id) => {
        this.#mustBeKnown(id, 'InvalidGroup.NotFound')
        if ([...this.running.values()].some(({ group }) => group === id)) return false
        if (!this.groups.delete(id)) throw notFound(id, 'InvalidGroup.NotFound')
        return true
      },
    }
  }
}

function notFound(id: string, name: string): ClawctlError {
  const cause = Object.assign(new Error(`${id} does not exist`), { name })
  return new ClawctlError('UPSTREAM', `${name} at ${id}.`, { cause })
}

describe('smokeImage', () => {
  it('waits until EC2 shows new resources, and leaves none', async () => {
    const account = new FakeAccount()
    account.unknownFor = 3
    expect(await account.run()).to.include({ ami: AMI, instanceId: 'i-1' })
    expect(account.left).to.deep.equal([])
    expect(account.progress.notes.join()).to.match(/AWS does not show sg-1 everywhere yet/)
  })

  it('does not treat a new machine as gone because EC2 does not show it', async () => {
    const account = new FakeAccount()
    account.unknownFor = 3
    account.console = ''
    expect(await failureOf(account.run({ timeoutMs: 1000 }))).to.include({ code: 'TIMED_OUT' })
    expect(account.left).to.deep.equal([])
  })

  it('finds the group that was created although the answer was lost', async () => {
    const account = new FakeAccount()
    account.lost = 'createGroup'
    account.unknownFor = 2
    await account.run()
    expect(account.left).to.deep.equal([])
  })

  it('removes the machine that was launched although the answer was lost', async () => {
    const account = new FakeAccount()
    account.lost = 'launch'
    expect(await failureOf(account.run())).to.include({ code: 'UPSTREAM' })
    expect(account.left).to.deep.equal([])
  })

  it('refuses an AMI that EC2 does not show after some seconds', async () => {
    const account = new FakeAccount()
    account.unknownFor = 1000
    const began = account.clock.now().getTime()
    expect((await failureOf(account.run())).code).to.equal('AMI_NOT_FOUND')
    expect(account.clock.now().getTime() - began).to.be.lessThan(10_000)
  })
})
