import { expect } from 'chai'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE, parseActive } from '../../../src/lib/domain/deploy/active.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import type { DeployOptions } from '../../../src/lib/ops/deploy/plane.js'
import { failureOf } from '../../support/failure.js'
import type { Boot } from '../../support/fakeCloud.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, NEW, OLD, REQUEST_ID, registryOf, START, upstream } from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>

function fleet(boot: Boot = 'healthy', existing = ['a', 'b']) {
  const plane = fakeDirectPlane(registryOf('a', 'b'), existing)
  plane.cloud.boots.set(NEW.id, boot)
  return plane
}

const deploy = (plane: Plane, order: Partial<Order> = {}, options: Partial<DeployOptions> = {}) =>
  deployFleet({ target: 'a', requestId: REQUEST_ID, ...order }, deployOptions(options), plane.ports)

async function fail(plane: Plane, order: Partial<Order> = {}, options: Partial<DeployOptions> = {}) {
  const error = await failureOf(deploy(plane, order, options))
  const done = error.partial?.deploy as Deploy
  return { error, done, hosts: done.hosts.map((host) => `${host.id} ${host.outcome} ${host.ami} ${host.instanceId}`) }
}

const applied = ({ cloud }: Plane) => cloud.log.filter((line) => /^(?:apply|stop|start|terminate)/.test(line))
const machines = ({ cloud }: Plane) => cloud.hosts.filter(({ id }) => id === 'a').map(({ instanceId }) => instanceId)
const holder = ({ store }: Plane) => parseActive(store.objects.get('active/a.json')?.text ?? '')?.instanceId
const name = ({ store }: Plane, instanceId: string) =>
  store.set('active/a.json', { schema: 1, id: 'a', instanceId, from: null, deploy: null, at: START })

describe('the slot of a candidate', () => {
  it('is the slot of a machine that no longer exists, if the other one serves', async () => {
    const plane = fleet()
    plane.cloud.state_.set(instanceAddress('a', 'b'), 'i-lost')
    await deploy(plane)
    expect(plane.cloud.planned[0]?.slots.a).to.deep.equal(['a', 'b'])
    expect(machines(plane)).to.deep.equal(['i-new-1'])
    expect(plane.cloud.state_.get(instanceAddress('a', 'b'))).to.equal('i-new-1')
  })

  it('is none while both slots have a machine, which a plan alone does not change', async () => {
    const plane = fleet()
    name(plane, 'i-a')
    plane.cloud.state_.set(instanceAddress('a', 'b'), plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null }))
    const { error, hosts } = await fail(plane, {}, { planOnly: true })
    expect(error.code).to.equal('DEPLOY_FAILED')
    expect(error.message).to.include('Both slots of a have a machine')
    expect(error.hint).to.include('without --plan-only')
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    await deploy(plane)
    expect(machines(plane)).to.deep.equal(['i-new-2'])
  })

  const unmanaged: [slot: 'a' | 'b' | null, adopted: Record<string, string>, candidate: string][] = [
    ['a', { a: 'i-x' }, 'b'],
    ['b', { 'a/b': 'i-x' }, 'a'],
    [null, { a: 'i-x' }, 'b'],
  ]
  for (const [slot, adopted, candidate] of unmanaged) {
    it(`is slot ${candidate} if the state lacks a machine in slot ${slot}`, async () => {
      const plane = fleet('healthy', ['b'])
      plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', slot }))
      expect((await deploy(plane, {}, { planOnly: true })).hosts[0]).to.include({
        outcome: 'planned',
        instanceId: 'i-x',
      })
      expect(plane.cloud.planned[0]?.adopt.instances).to.deep.equal(adopted)
      expect(plane.cloud.log.at(-1)).to.include(candidate === 'b' ? 'create a/b' : 'create a')
    })
  }

  it('is refused if the state has another machine in the slot of the serving one', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x' }))
    plane.cloud.state_.set(instanceAddress('a'), 'i-lost')
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('NOT_IN_STATE')
    expect(error.message).to.include('EC2 runs i-x as a, but the OpenTofu state has another machine in its slot')
    expect(error.hint).to.include('clawctl fleet recover a --plan-only')
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-x`])
    expect(applied(plane)).to.deep.equal([])
  })
})

describe('a candidate that was not created', () => {
  for (const reason of ['InsufficientInstanceCapacity', 'VcpuLimitExceeded', 'InstanceLimitExceeded']) {
    it(`suggests --strategy replace if EC2 has no capacity: ${reason}`, async () => {
      const plane = fleet()
      plane.cloud.beforeApply = () => {
        throw new ClawctlError('APPLY_FAILED', `OpenTofu failed: ${reason}.`)
      }
      const { error } = await fail(plane)
      expect(error.code).to.equal('KEPT')
      expect(error.message).to.include(reason)
      expect(error.hint).to.include('--strategy replace')
    })
  }

  it('does not mention capacity for another failure', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = () => {
      throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.', { hint: 'Look at the log.' })
    }
    const { error, hosts } = await fail(plane)
    expect([error.code, error.hint, ...hosts]).to.deep.equal(['KEPT', 'Look at the log.', `a kept ${OLD.id} i-a`])
    expect(error.message).to.match(/^OpenTofu failed\. i-a goes on serving with ami-0+1\.$/)
  })

  it('is reported although OpenTofu reports success', async () => {
    const plane = fleet()
    plane.cloud.afterApply = (nth) => {
      if (nth === 1) plane.cloud.lose('i-new-1')
      if (nth === 1) plane.cloud.state_.delete(instanceAddress('a', 'b'))
    }
    const { error } = await fail(plane)
    expect(error.code).to.equal('KEPT')
    expect(error.message).to.include('OpenTofu created a, but its state does not have it.')
    expect(applied(plane)).to.deep.equal(['apply create a/b'])
  })

  it("is reported with the reason if state or EC2 can't be read after the apply, and the old machine serves on", async () => {
    const plane = fleet()
    const { state } = plane.ports.tofu
    plane.cloud.afterApply = () => {
      plane.ports.tofu.state = () => Promise.reject(upstream())
    }
    const { error, hosts } = await fail(plane)
    expect(error.message).to.match(
      /OpenTofu created a, but .* could not be read after that: The service does not answer/,
    )
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    plane.ports.tofu.state = state
    plane.cloud.afterApply = () => {}
    expect((await deploy(plane, { requestId: 'request-0002' })).hosts[0]).to.include({ outcome: 'replaced' })
    expect(machines(plane)).to.deep.equal(['i-new-2'])
  })

  it('is removed if EC2 has it and the state does not', async () => {
    const plane = fleet()
    plane.cloud.afterApply = (nth) => {
      if (nth !== 1) return
      plane.cloud.state_.delete(instanceAddress('a', 'b'))
      throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    expect((await fail(plane)).error.code).to.equal('KEPT')
    expect(applied(plane)).to.deep.equal(['apply create a/b', 'terminate i-new-1'])
    expect(machines(plane)).to.deep.equal(['i-a'])
  })

  it('is also removed for a new host', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.afterApply = (nth) => {
      if (nth !== 1) return
      plane.cloud.state_.delete(instanceAddress('a'))
      throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['APPLY_FAILED', 'a failed null null'])
    expect(machines(plane)).to.deep.equal([])
  })

  const nothingToDestroy: [why: string, spoil: (plane: Plane) => void][] = [
    ['its slot is that of a machine that no longer exists', ({ cloud }) => cloud.lose('i-new-1')],
    [
      'EC2 is already shutting it down',
      ({ cloud }) => {
        cloud.state_.delete(instanceAddress('a', 'b'))
        for (const { host } of cloud.machines) if (host.instanceId === 'i-new-1') host.state = 'shutting-down'
      },
    ],
  ]
  for (const [why, spoil] of nothingToDestroy) {
    it(`is not reported as destroyed if ${why}`, async () => {
      const plane = fleet()
      plane.cloud.afterApply = () => {
        spoil(plane)
        throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
      }
      expect((await fail(plane)).error.code).to.equal('KEPT')
      expect(plane.store.puts.map(({ text }) => text).join()).to.not.include('the candidate')
    })
  }

  it('is waited for if EC2 does not list it yet', async () => {
    const plane = fleet()
    const listed = plane.cloud.describeHosts.bind(plane.cloud)
    plane.cloud.describeHosts = async () =>
      (await listed()).filter(({ instanceId }) => instanceId !== 'i-new-1' || plane.clock.elapsed > 60_000)
    expect((await deploy(plane)).hosts[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-1' })
  })

  it('is kept if the apply failed because the state is locked', async () => {
    const plane = fleet()
    plane.cloud.afterApply = () => {
      throw new ClawctlError('STATE_LOCKED', 'The state is locked.')
    }
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['STATE_LOCKED', `a kept ${OLD.id} i-a`])
    expect(machines(plane)).to.deep.equal(['i-a', 'i-new-1'])
  })
})

describe('a new host that fails', () => {
  it('is destroyed, and no machine is active for it', async () => {
    const plane = fleet('fails-active', ['b'])
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.match(/a on ami-0+2 is not healthy: .* It did not exist before, so no machine serves\.$/)
    expect(hosts).to.deep.equal(['a failed null null'])
    expect(error.hint).to.include('clawctl fleet show a')
    expect(machines(plane)).to.deep.equal([])
    expect(holder(plane)).to.equal(NO_MACHINE)
  })

  it('is kept with --on-failure stop', async () => {
    const plane = fleet('silent', ['b'])
    const { error } = await fail(plane, {}, { onFailure: 'stop' })
    expect(error.message).to.match(/so no machine serves\. The candidate i-new-1 was not changed\.$/)
    expect(machines(plane)).to.deep.equal(['i-new-1'])
  })

  it('is reported as failed if even its plan fails', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.dryRunSays = { denied: false, reason: 'Unsupported' }
    expect((await fail(plane)).hosts).to.deep.equal(['a failed null null'])
  })
})

describe('a rollback that fails', () => {
  /** The old machine has the role again. */
  const returned = (plane: Plane) =>
    plane.cloud.gateways.some(({ instanceId }) => instanceId === 'i-new-1') && holder(plane) !== 'i-new-1'

  it('is reported if the old machine is no longer healthy, and destroys no machine', async () => {
    const plane = fleet('fails-active')
    plane.clock.ticks.push(() => {
      for (const machine of plane.cloud.machines) if (machine.host.instanceId === 'i-a') machine.boot = 'fails-active'
    })
    const { error, done, hosts } = await fail(plane)
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(error.message).to.match(/The rollback to ami-0+1 failed as well: i-a is not healthy: .*discord/)
    expect(error.hint).to.include('clawctl fleet show a')
    expect(hosts).to.deep.equal([`a failed ${OLD.id} i-a`])
    expect(done.hosts[0]?.evidence).to.include({ instanceId: 'i-a', ami: OLD.id })
    expect(machines(plane)).to.deep.equal(['i-a', 'i-new-1'])
    expect(plane.cloud.failed.size).to.equal(0)
  })

  it('is reported as cancelled if the process is stopped meanwhile', async () => {
    const plane = fleet('fails-active')
    plane.clock.onSleep = () => {
      if (returned(plane)) throw new ClawctlError('CANCELLED', 'Stopped.')
    }
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['CANCELLED', `a failed ${NEW.id} i-new-1`])
    expect(error.hint).to.equal('Deploy a again: it goes on from there.')
  })
})

describe('an AMI with which a new host is healthy', () => {
  it('is not marked as failed if the next host fails with it', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.beforeApply = (nth) => {
      if (nth === 2) plane.cloud.boots.set(NEW.id, 'silent')
    }
    const { hosts } = await fail(plane, { target: 'all' })
    expect(hosts).to.deep.equal([`a created ${NEW.id} i-new-1`, `b kept ${OLD.id} i-b`])
    expect(plane.cloud.failed.size).to.equal(0)
  })
})
