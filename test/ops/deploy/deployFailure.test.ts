import { expect } from 'chai'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { failureOf } from '../../support/failure.js'
import { type Boot, fakeDirectPlane } from '../../support/fakeCloud.js'
import { hostOf, NEW, OLD, REQUEST_ID, registryOf, upstream } from '../../support/fakes.js'

const MINUTE = 60_000

/** A fleet of a, b, c on the old image; the new image boots as told. */
function fleet(boot: Boot, existing = ['a', 'b', 'c']) {
  const plane = fakeDirectPlane(registryOf('a', 'b', 'c'), existing)
  plane.cloud.boots.set(NEW.id, boot)
  return plane
}

async function fail(
  plane: ReturnType<typeof fleet>,
  request: Partial<Order> = {},
  onFailure: 'rollback' | 'stop' = 'rollback',
) {
  const options = { planOnly: false, onFailure, healthTimeoutMs: MINUTE, wait: true, waitTimeoutMs: MINUTE }
  const error = await failureOf(deployFleet({ target: 'all', requestId: REQUEST_ID, ...request }, options, plane.ports))
  const deploy = error.partial?.deploy as Deploy
  return {
    error,
    status: deploy.status,
    hosts: deploy.hosts.map((host) => `${host.id} ${host.outcome} ${host.ami}`),
    applied: plane.cloud.log.filter((line) => line.startsWith('apply')),
  }
}

describe('a deploy that fails its health gate', () => {
  it('stops at the canary, rolls it back and skips the rest', async () => {
    const plane = fleet('gateway-failed')
    const { error, status, hosts, applied } = await fail(plane)
    expect(error.code).to.equal('ROLLED_BACK')
    expect(error.message).to.match(/^a on ami-0+2 is not healthy: its gateway is failed\. It runs ami-0+1 again\.$/)
    expect(status).to.equal('rolled-back')
    expect(hosts).to.deep.equal([`a rolled-back ${OLD.id}`, `b skipped ${OLD.id}`, `c skipped ${OLD.id}`])
    expect(applied).to.deep.equal([`apply a ${NEW.id}`, `apply a ${OLD.id}`])
    expect(plane.cloud.hosts.map((host) => host.ami)).to.deep.equal([OLD.id, OLD.id, OLD.id])
    expect(plane.report.outputs).to.deep.equal({ status: 'rolled-back', ami: NEW.id })
  })

  it('fails at once where waiting can not help', async () => {
    const plane = fleet('gateway-failed')
    await fail(plane)
    expect(plane.clock.elapsed).to.equal(0)
  })

  it('waits until the time is up for a host that says nothing, and no longer', async () => {
    const plane = fleet('silent')
    const { error } = await fail(plane, { target: 'a' })
    expect(error.message).to.include('not healthy after 1 minute: waiting for the first heartbeat')
    expect(plane.clock.elapsed).to.equal(MINUTE)
    expect(Math.max(...plane.clock.sleeps)).to.be.at.most(10_000)
  })

  it('waits for a host that becomes healthy late', async () => {
    const plane = fleet('silent')
    plane.clock.onSleep = (nth) => {
      if (nth === 3) plane.cloud.boots.set(NEW.id, 'healthy')
      if (nth === 3) plane.cloud.terminate('a')
      if (nth === 3) plane.cloud.launch('a', NEW.id)
    }
    const options = {
      planOnly: false,
      onFailure: 'stop',
      healthTimeoutMs: MINUTE,
      wait: true,
      waitTimeoutMs: 0,
    } as const
    const deploy = await deployFleet({ target: 'a', requestId: REQUEST_ID }, options, plane.ports)
    expect(deploy.hosts[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-2' })
  })

  it('fails at once where the new instance disappears', async () => {
    const plane = fleet('silent')
    plane.clock.onSleep = (nth) => {
      if (nth === 2) plane.cloud.terminate('a')
    }
    const { error } = await fail(plane, { target: 'a' }, 'stop')
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.include('i-new-1 was terminated')
    expect(plane.clock.sleeps).to.have.length(2)
  })

  it('does not take the old instance for the new one where both run the same AMI', async () => {
    const plane = fleet('silent')
    const old = plane.cloud.hosts[0]
    if (old) Object.assign(old, { ami: NEW.id })
    plane.cloud.beforeApply = () => {
      plane.cloud.hosts.push(hostOf('a', { ami: NEW.id, instanceId: 'i-new-0', launchedAt: '2027-01-01T00:00:00Z' }))
    }
    expect((await fail(plane, { target: 'a' }, 'stop')).error.code).to.equal('HEALTH_FAILED')
  })

  it('leaves the host as it is with --on-failure stop', async () => {
    const { error, status, hosts, applied } = await fail(fleet('gateway-failed'), {}, 'stop')
    expect([error.code, status]).to.deep.equal(['HEALTH_FAILED', 'failed'])
    expect(hosts).to.deep.equal([`a failed ${NEW.id}`, `b skipped ${OLD.id}`, `c skipped ${OLD.id}`])
    expect(applied).to.deep.equal([`apply a ${NEW.id}`])
  })

  it('has nowhere to go back to with a host that is new', async () => {
    const { error, hosts, applied } = await fail(fleet('gateway-failed', ['b']), { target: 'a' })
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.match(/did not exist before, so there is no AMI to go back to\.$/)
    expect(error.hint).to.include('--ami')
    expect(hosts).to.deep.equal([`a failed ${NEW.id}`])
    expect(applied).to.have.length(1)
  })

  it('has nowhere to go back to where the AMI was the same before', async () => {
    const plane = fleet('gateway-failed')
    plane.cloud.boots.set(OLD.id, 'gateway-failed')
    const { error, applied } = await fail(plane, { target: 'a', amiOverride: OLD.id })
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.match(/ran this AMI before, too, so there is no AMI to go back to\.$/)
    expect(applied).to.have.length(1)
  })

  it('says so where the way back fails as well', async () => {
    const plane = fleet('gateway-failed')
    plane.cloud.boots.set(OLD.id, 'gateway-failed')
    const { error, status, hosts, applied } = await fail(plane)
    expect([error.code, status]).to.deep.equal(['ROLLBACK_FAILED', 'failed'])
    expect(error.message).to.match(/Going back to ami-0+1 failed as well: a on ami-0+1 is not healthy/)
    expect(hosts[0]).to.equal(`a failed ${OLD.id}`)
    expect(applied).to.have.length(2)
  })

  it('guards the way back, too', async () => {
    const plane = fleet('gateway-failed')
    plane.cloud.beforeApply = () => {
      const change = { mode: 'managed', type: 'aws_s3_bucket', change: { actions: ['delete'] } }
      plane.cloud.alsoPlanned = [{ ...change, address: 'aws_s3_bucket.state' }]
    }
    const { error, applied } = await fail(plane)
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(error.message).to.include('aws_s3_bucket.state')
    expect(applied).to.have.length(1)
  })

  it('stops in the middle of a rollout, what was done stays done', async () => {
    const plane = fleet('healthy')
    plane.cloud.beforeApply = (nth) => {
      if (nth === 2) plane.cloud.boots.set(NEW.id, 'gateway-failed')
    }
    const { hosts } = await fail(plane)
    expect(hosts).to.deep.equal([`a replaced ${NEW.id}`, `b rolled-back ${OLD.id}`, `c skipped ${OLD.id}`])
  })
})

describe('a deploy whose apply fails', () => {
  const refuse = (plane: ReturnType<typeof fleet>, code: 'APPLY_FAILED' | 'STATE_LOCKED', destroyed: boolean) => {
    plane.cloud.beforeApply = (nth) => {
      if (nth !== 1) return
      if (destroyed) plane.cloud.terminate('a')
      throw new ClawctlError(code, 'OpenTofu failed.')
    }
  }

  it('creates the host again on its previous AMI where the old one is gone already', async () => {
    const plane = fleet('healthy')
    refuse(plane, 'APPLY_FAILED', true)
    const { error, hosts, applied } = await fail(plane)
    expect(error.code).to.equal('ROLLED_BACK')
    expect(hosts).to.deep.equal([`a rolled-back ${OLD.id}`, `b skipped ${OLD.id}`, `c skipped ${OLD.id}`])
    expect(applied).to.deep.equal([`apply a ${NEW.id}`, `apply a ${OLD.id}`])
    expect(plane.cloud.planned.map((request) => request.replace !== null)).to.deep.equal([true, false])
  })

  it('begins nothing new where the state is locked', async () => {
    const plane = fleet('healthy')
    refuse(plane, 'STATE_LOCKED', false)
    const { error, applied } = await fail(plane)
    expect(error.code).to.equal('STATE_LOCKED')
    expect(applied).to.have.length(1)
  })

  it('is left as it is with --on-failure stop', async () => {
    const plane = fleet('healthy')
    refuse(plane, 'APPLY_FAILED', true)
    const { error, applied } = await fail(plane, {}, 'stop')
    expect(error.code).to.equal('APPLY_FAILED')
    expect(applied).to.have.length(1)
  })

  it('does not replace a host that the failed apply never touched', async () => {
    const plane = fleet('healthy')
    refuse(plane, 'APPLY_FAILED', false)
    const { error, applied } = await fail(plane)
    expect(error.code).to.equal('APPLY_FAILED')
    expect(applied).to.have.length(1)
    expect(plane.cloud.hosts.map((host) => host.instanceId)).to.include('i-a')
  })
})

describe('a deploy that EC2 stops answering for', () => {
  const denied = new ClawctlError('DENIED', 'AWS refused EC2 DescribeInstances: UnauthorizedOperation.')

  it('touches nothing after a failed apply where nobody can say what became of the host', async () => {
    const plane = fleet('healthy')
    plane.cloud.beforeApply = () => {
      plane.cloud.onDescribe = () => {
        throw upstream()
      }
      throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    const { error, applied } = await fail(plane)
    expect(error.code).to.equal('APPLY_FAILED')
    expect(applied).to.have.length(1)
  })

  it('does not replace a new host that it may not look at', async () => {
    const plane = fleet('healthy')
    plane.cloud.beforeApply = () => {
      plane.cloud.onDescribe = () => {
        throw denied
      }
    }
    const { error, applied } = await fail(plane)
    expect(error.code).to.equal('DENIED')
    expect(applied).to.have.length(1)
  })
})

describe('a health gate that can not see', () => {
  it('looks again until the time is up, and does not roll back a host that is well', async () => {
    const plane = fleet('healthy')
    let asked = 0
    plane.cloud.onDescribe = () => {
      asked += 1
      if (asked === 2) throw upstream()
    }
    const options = {
      planOnly: false,
      onFailure: 'rollback',
      healthTimeoutMs: MINUTE,
      wait: true,
      waitTimeoutMs: 0,
    } as const
    const deploy = await deployFleet({ target: 'a', requestId: REQUEST_ID }, options, plane.ports)
    expect(deploy.status).to.equal('succeeded')
  })
})
