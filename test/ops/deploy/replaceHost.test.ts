import { expect } from 'chai'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { failureOf } from '../../support/failure.js'
import type { Boot } from '../../support/fakeCloud.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { NEW, OLD, REQUEST_ID, registryOf, START, upstream } from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>

/** A fleet on the old image, in an account without capacity for one more; the test sets how the new image boots. */
function fleet(boot: Boot = 'healthy', existing = ['a', 'b']) {
  const plane = fakeDirectPlane(registryOf('a', 'b'), existing)
  plane.cloud.boots.set(NEW.id, boot)
  let most = 0
  plane.clock.ticks.push(() => {
    most = Math.max(most, plane.cloud.hosts.length)
  })
  return { ...plane, most: () => most }
}

const deploy = (plane: Plane, order: Partial<Order> = {}, options = {}) =>
  deployFleet(
    { target: 'a', requestId: REQUEST_ID, strategy: 'replace', ...order },
    deployOptions(options),
    plane.ports,
  )

async function fail(plane: Plane, order: Partial<Order> = {}, options = {}) {
  const error = await failureOf(deploy(plane, order, options))
  const done = error.partial?.deploy as Deploy
  return { error, status: done.status, hosts: done.hosts.map((host) => `${host.id} ${host.outcome} ${host.ami}`) }
}

const act = ({ store }: Plane, instanceId: string, from: string | null = null) =>
  store.set('active/a.json', { schema: 1, id: 'a', instanceId, from, deploy: null, at: START })
const applied = ({ cloud }: Plane) => cloud.log.filter((line) => /^(?:apply|stop|terminate)/.test(line))

describe('a deploy with --strategy replace', () => {
  it('creates the new machine after the old one is destroyed, and never runs an additional one', async () => {
    const plane = fleet()
    const done = await deploy(plane, { target: 'all' })
    expect(done.hosts.map(({ outcome, instanceId }) => `${outcome} ${instanceId}`)).to.deep.equal([
      'replaced i-new-1',
      'replaced i-new-2',
    ])
    expect(applied(plane)).to.deep.equal(['apply replace a', 'apply replace b'])
    expect(plane.most()).to.equal(2)
    expect(plane.cloud.connected('a')).to.deep.equal(['i-new-1'])
  })

  it('removes the heartbeats of the old machine, and of one that was lost before', async () => {
    const plane = fleet()
    plane.store.set('heartbeats/a/i-lost.json', {})
    await deploy(plane)
    expect([...plane.store.objects.keys()].filter((key) => key.startsWith('heartbeats/a/'))).to.deep.equal([
      'heartbeats/a/i-new-1.json',
    ])
  })

  it("is used if it is the repository's default", async () => {
    const plane = fleet()
    await deployFleet({ target: 'a', requestId: REQUEST_ID }, deployOptions(), {
      ...plane.ports,
      defaultStrategy: 'replace',
    })
    expect(applied(plane)).to.deep.equal(['apply replace a'])
  })

  it('creates a host that does not exist', async () => {
    const plane = fleet('healthy', ['b'])
    expect((await deploy(plane)).hosts[0]?.outcome).to.equal('created')
  })

  it('changes nothing if a person cancels it after its plan; a plan-only run ends there', async () => {
    const cancelledAfterPlan = () => {
      const plane = fleet()
      const dryRun = plane.cloud.dryRun.bind(plane.cloud)
      plane.cloud.dryRun = (parameters) => {
        plane.store.set(`control/cancel/${REQUEST_ID}.json`, { by: 'Jo', at: 'now' })
        return dryRun(parameters)
      }
      return plane
    }
    const plane = cancelledAfterPlan()
    const { error, status, hosts } = await fail(plane)
    expect([error.code, status]).to.deep.equal(['CANCELLED', 'cancelled'])
    expect(error.message).to.include('before anything was changed')
    expect(hosts).to.deep.equal([`a kept ${OLD.id}`])
    expect([applied(plane), plane.store.objects.has('active/a.json')]).to.deep.equal([[], false])
    expect((await deploy(cancelledAfterPlan(), {}, { planOnly: true })).hosts[0]?.outcome).to.equal('planned')
  })

  it('only plans with --plan-only, whatever an earlier deploy left', async () => {
    const plane = fleet()
    const { hosts } = await deploy(plane, {}, { planOnly: true })
    expect(hosts[0]).to.include({ outcome: 'planned', instanceId: 'i-a' })
    expect([...plane.store.objects.keys()].filter((key) => key.startsWith('active/'))).to.deep.equal([])
    act(plane, 'i-a')
    plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    await deploy(plane, { requestId: 'request-0002' }, { planOnly: true })
    expect(applied(plane)).to.deep.equal([])
  })

  it('first removes what an earlier deploy left', async () => {
    const plane = fleet()
    act(plane, 'i-a')
    plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    expect((await deploy(plane)).hosts[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-2' })
    expect(applied(plane)).to.deep.equal(['terminate i-new-1', 'apply replace a'])
  })

  it('replaces nothing if an earlier deploy had handed over to the wanted AMI', async () => {
    const plane = fleet()
    const instanceId = plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    plane.cloud.state_.set(instanceAddress('a', 'b'), instanceId)
    act(plane, instanceId, 'i-a')
    await plane.clock.sleep(60_000)
    expect((await deploy(plane)).hosts[0]).to.include({ outcome: 'replaced', instanceId })
    expect(applied(plane)).to.deep.equal(['apply delete a'])
  })

  it('refuses to replace a machine that the state does not have', async () => {
    const plane = fleet()
    for (const address of plane.cloud.state_.keys()) if (address.includes('"a')) plane.cloud.state_.delete(address)
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['NOT_IN_STATE', `a kept ${OLD.id}`])
    expect(error.hint).to.include('without --strategy replace')
  })

  it("changes nothing if the host can't be read", async () => {
    const plane = fleet()
    let asked = 0
    plane.cloud.onDescribe = () => {
      asked += 1
      if (asked > 2) throw new ClawctlError('DENIED', 'AWS refused.')
    }
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['DENIED', 'a failed null'])
  })

  for (const boot of ['silent', 'crash', 'fails-active'] as const) {
    it(`rolls back to the previous AMI if the new one fails: ${boot}`, async () => {
      const plane = fleet(boot)
      const { error, status, hosts } = await fail(plane)
      expect([error.code, status]).to.deep.equal(['ROLLED_BACK', 'rolled-back'])
      const what = boot === 'fails-active' ? 'healthy' : 'ready to take over'
      expect(error.message).to.match(new RegExp(`^a on ami-0+2 is not ${what}: .* It runs ami-0+1 again\\.$`))
      expect(hosts).to.deep.equal([`a rolled-back ${OLD.id}`])
      expect(applied(plane)).to.deep.equal(['apply replace a', 'apply replace a'])
      expect(plane.cloud.connected('a')).to.deep.equal(['i-new-2'])
      expect([...plane.cloud.failed.keys()]).to.deep.equal([NEW.id])
    })
  }

  it('stops a rollout at the first failure; finished hosts stay replaced', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = (nth) => {
      if (nth === 2) plane.cloud.boots.set(NEW.id, 'silent')
    }
    expect((await fail(plane, { target: 'all' })).hosts).to.deep.equal([
      `a replaced ${NEW.id}`,
      `b rolled-back ${OLD.id}`,
    ])
    expect(plane.cloud.failed.size).to.equal(0)
  })

  it('leaves the host as it is with --on-failure stop', async () => {
    const { error, hosts } = await fail(fleet('silent'), {}, { onFailure: 'stop' })
    expect([error.code, ...hosts]).to.deep.equal(['HEALTH_FAILED', `a failed ${NEW.id}`])
  })

  it('has no rollback target if the AMI was the same before', async () => {
    const plane = fleet()
    plane.cloud.boots.set(OLD.id, 'silent')
    const { error } = await fail(plane, { amiOverride: OLD.id })
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.match(/ran this AMI before, too, so there is no rollback target\.$/)
    expect(error.hint).to.include('clawctl fleet show a')
  })

  it('reports a rollback that fails as well', async () => {
    const plane = fleet('silent')
    plane.cloud.boots.set(OLD.id, 'silent')
    const { error, status, hosts } = await fail(plane)
    expect([error.code, status, ...hosts]).to.deep.equal(['ROLLBACK_FAILED', 'failed', `a failed ${OLD.id}`])
    expect(error.message).to.match(/The rollback to ami-0+1 failed as well: a on ami-0+1 is not/)
    expect(error.hint).to.equal('Deploy a with --ami and an AMI that is known to work.')
  })

  it('also guards the plan of the rollback', async () => {
    const plane = fleet('silent')
    plane.cloud.beforeApply = () => {
      const change = { mode: 'managed', type: 'aws_s3_bucket', change: { actions: ['delete'] } }
      plane.cloud.alsoPlanned = [{ ...change, address: 'aws_s3_bucket.state' }]
    }
    const { error } = await fail(plane)
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(error.message).to.include('aws_s3_bucket.state')
    expect(applied(plane)).to.have.length(1)
  })

  describe('whose apply fails', () => {
    const refuse = (plane: Plane, code: 'APPLY_FAILED' | 'STATE_LOCKED' | 'CANCELLED', destroyed: boolean) => {
      plane.cloud.beforeApply = (nth) => {
        if (nth !== 1) return
        if (destroyed) plane.cloud.lose('i-a')
        throw new ClawctlError(code, 'OpenTofu failed.')
      }
    }

    it('creates the host again with its previous AMI if the old machine is gone', async () => {
      const plane = fleet()
      refuse(plane, 'APPLY_FAILED', true)
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['ROLLED_BACK', `a rolled-back ${OLD.id}`])
      expect(applied(plane)).to.deep.equal(['apply replace a', 'apply create a'])
      expect(plane.cloud.planned.map(({ replace }) => replace)).to.deep.equal([instanceAddress('a'), null])
    })

    it('creates the host again if the old machine is shutting down', async () => {
      const plane = fleet()
      plane.cloud.beforeApply = (nth) => {
        if (nth !== 1) return
        for (const { host } of plane.cloud.machines) if (host.id === 'a') host.state = 'shutting-down'
        let looks = 0
        plane.cloud.onDescribe = () => {
          looks += 1
          if (looks > 1) plane.cloud.lose('i-a')
        }
        throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
      }
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['ROLLED_BACK', `a rolled-back ${OLD.id}`])
    })

    it('creates the host again if the state does not have the new machine', async () => {
      const plane = fleet()
      plane.cloud.afterApply = (nth) => {
        if (nth !== 1) return
        plane.cloud.lose('i-new-1')
        plane.cloud.state_.delete(instanceAddress('a'))
      }
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['ROLLED_BACK', `a rolled-back ${OLD.id}`])
      expect(error.message).to.include('OpenTofu created a, but its state does not have it.')
    })

    it('does not change a host that the failed apply did not change', async () => {
      const plane = fleet()
      refuse(plane, 'APPLY_FAILED', false)
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['APPLY_FAILED', `a kept ${OLD.id}`])
      expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
      expect(applied(plane)).to.have.length(1)
    })

    it('starts no rollback if the state is locked, or with --on-failure stop', async () => {
      const locked = fleet()
      refuse(locked, 'STATE_LOCKED', true)
      expect((await fail(locked)).error.code).to.equal('STATE_LOCKED')
      const stopping = fleet()
      refuse(stopping, 'APPLY_FAILED', true)
      expect((await fail(stopping, {}, { onFailure: 'stop' })).error.code).to.equal('APPLY_FAILED')
      expect([...applied(locked), ...applied(stopping)]).to.have.length(2)
    })

    it('reports the known state of the host after an interruption', async () => {
      const plane = fleet()
      refuse(plane, 'CANCELLED', true)
      const { error, status } = await fail(plane)
      expect([error.code, status]).to.deep.equal(['CANCELLED', 'cancelled'])
      expect(error.message).to.include('its state is unknown')
      expect(error.hint).to.include('deploy again: it resumes')
      const seen = fleet('silent')
      seen.clock.onSleep = (nth) => {
        if (nth > 3) throw new ClawctlError('CANCELLED', 'Stopped.')
      }
      expect((await fail(seen)).error.message).to.include('The deploy of a was interrupted')
    })

    it('changes nothing more if the state of the host is unknown', async () => {
      const plane = fleet()
      plane.cloud.beforeApply = () => {
        plane.cloud.onDescribe = () => {
          throw upstream()
        }
        throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
      }
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['APPLY_FAILED', `a failed ${OLD.id}`])
      expect(applied(plane)).to.have.length(1)
    })

    it('does not replace a new host whose health it may not read', async () => {
      const plane = fleet()
      plane.cloud.afterApply = () => {
        plane.cloud.onDescribe = () => {
          throw new ClawctlError('DENIED', 'AWS refused.')
        }
      }
      const { error, hosts } = await fail(plane)
      expect([error.code, ...hosts]).to.deep.equal(['DENIED', 'a failed null'])
      expect(applied(plane)).to.have.length(1)
    })
  })
})
