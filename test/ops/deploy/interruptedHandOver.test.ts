import { expect } from 'chai'
import { NO_MACHINE, parseActive } from '../../../src/lib/domain/deploy/active.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { NEW, OLD, REQUEST_ID } from '../../support/fakes.js'
import {
  applied,
  deploy,
  expectOneGateway,
  fail,
  fleet,
  holder,
  machines,
  type Plane,
} from '../../support/handOvers.js'

describe('an interrupted handover', () => {
  it('gives the role back immediately if the process is being stopped', async () => {
    const plane = fleet()
    plane.clock.onSleep = () => {
      if (holder(plane) === NO_MACHINE) throw new ClawctlError('CANCELLED', 'Stopped.')
    }
    const { error, status } = await fail(plane)
    expect([error.code, status]).to.deep.equal(['CANCELLED', 'cancelled'])
    expect(holder(plane)).to.equal('i-a')
    plane.clock.onSleep = () => {}
    const { hosts } = await deploy(plane, { requestId: 'request-0002' })
    expect(hosts[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-2' })
    expect(machines(plane)).to.deep.equal(['i-new-2'])
    expectOneGateway(plane)
  })
})

describe('a handover that is interrupted while EC2 stops the old machine', () => {
  /**
   * The old machine does not yield, and the deploy is interrupted, or can't read EC2 any more, after it requested the
   * stop of that machine.
   */
  function stopping(error: ClawctlError) {
    const plane = fleet()
    plane.cloud.deaf.add('i-a')
    plane.clock.onSleep = () => {
      if (!plane.cloud.log.includes('stop i-a')) return
      plane.cloud.deaf.delete('i-a')
      throw error
    }
    return plane
  }

  for (const code of ['CANCELLED', 'DENIED'] as const) {
    it(`starts the old machine again, and names it only then: ${code}`, async () => {
      const plane = stopping(new ClawctlError(code, 'It was interrupted.'))
      const { error, hosts } = await fail(plane)
      expect(error.code).to.equal(code)
      expect(error.message).to.include('EC2 was asked to stop i-a for the handover')
      expect(error.hint).to.include('Deploy a again')
      // It was not seen to serve yet.
      expect(hosts).to.deep.equal([`a failed ${OLD.id} i-a`])
      expect(applied(plane)).to.deep.equal(['apply create a/b', 'stop i-a', 'start i-a'])
      await plane.clock.pass(120_000)
      expect(holder(plane)).to.equal('i-a')
      expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
      expectOneGateway(plane)
    })
  }

  for (const target of ['a', 'b']) {
    it(`leaves the restart to the next deploy if it is killed meanwhile: of ${target}`, async () => {
      const plane = stopping(new ClawctlError('CANCELLED', 'It was interrupted.'))
      const unhurried = plane.ports.tidyClock
      plane.ports.tidyClock = {
        ...unhurried,
        sleep: () => Promise.reject(new ClawctlError('CANCELLED', 'It was killed.')),
      }
      await fail(plane)
      expect(holder(plane)).to.equal(NO_MACHINE)
      plane.ports.tidyClock = unhurried
      plane.clock.onSleep = () => {}
      await deploy(plane, { target, requestId: 'request-0002' })
      expect(applied(plane)).to.include('start i-a')
      await plane.clock.pass(120_000)
      expect(plane.cloud.connected('a')).to.have.length(1)
      expectOneGateway(plane)
    })
  }

  it('gives the role to the old machine if EC2 stops the candidate', async () => {
    const plane = fleet('fails-active')
    plane.cloud.deaf.add('i-new-1')
    plane.clock.onSleep = () => {
      if (plane.cloud.log.includes('stop i-new-1')) throw new ClawctlError('CANCELLED', 'It was interrupted.')
    }
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('CANCELLED')
    expect(hosts[0]).to.match(/^a failed/)
    await plane.clock.pass(120_000)
    expect(applied(plane)).to.not.include('start i-new-1')
    expect(holder(plane)).to.equal('i-a')
    expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
    expectOneGateway(plane)
  })
})

describe('a deploy that fails after the handover', () => {
  for (const code of ['CANCELLED', 'DENIED'] as const) {
    it(`reports that the candidate has the role and was not seen healthy: ${code}`, async () => {
      const plane = fleet()
      plane.clock.onSleep = () => {
        if (holder(plane) === 'i-new-1') throw new ClawctlError(code, 'It stopped here.')
      }
      const { error, hosts } = await fail(plane)
      expect(error).to.include({ code, hint: 'Deploy a again: it goes on from there.' })
      expect(error.message).to.include('a was handed over to i-new-1, which was not healthy yet')
      expect(hosts).to.deep.equal([`a failed ${NEW.id} i-new-1`])
      plane.clock.onSleep = () => {}
      const { hosts: done } = await deploy(plane, { requestId: 'request-0002' })
      expect(done[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-1' })
    })
  }

  it('does not report a machine as kept that EC2 has stopped meanwhile', async () => {
    const plane = fleet('silent')
    plane.cloud.afterApply = (nth) => {
      if (nth === 1) plane.cloud.stop('i-a')
    }
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.include('i-a does not serve either')
    expect(hosts).to.deep.equal([`a failed ${OLD.id} i-a`])
  })

  it('is rolled back by a deploy of another AMI, which then continues', async () => {
    const plane = fleet('fails-active')
    plane.clock.onSleep = () => {
      if (holder(plane) === 'i-new-1') throw new ClawctlError('CANCELLED', 'It stopped here.')
    }
    await fail(plane)
    plane.clock.onSleep = () => {}
    const { hosts } = await deploy(plane, { requestId: 'request-0002', amiOverride: OLD.id })
    expect(hosts[0]).to.include({ outcome: 'replaced', ami: OLD.id, instanceId: 'i-new-2' })
    expect(machines(plane)).to.deep.equal(['i-new-2'])
    expectOneGateway(plane)
  })

  it('does not give the role back to an old machine that is gone', async () => {
    const plane = fleet()
    await deploy(plane)
    expect(parseActive(plane.store.objects.get('active/a.json')?.text ?? '')?.from).to.equal(null)
  })
})

describe('a cancelled deploy', () => {
  const cancel = ({ store }: Plane) => store.set(`control/cancel/${REQUEST_ID}.json`, { by: 'Jo', at: 'now' })

  it('stops after its plan', async () => {
    const plane = fleet()
    const dryRun = plane.cloud.dryRun.bind(plane.cloud)
    plane.cloud.dryRun = (parameters) => {
      cancel(plane)
      return dryRun(parameters)
    }
    const { error, status, hosts } = await fail(plane)
    expect([error.code, status]).to.deep.equal(['CANCELLED', 'cancelled'])
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    expect(applied(plane)).to.deep.equal([])
  })

  it('stops before the handover, and destroys the candidate', async () => {
    const plane = fleet()
    plane.cloud.afterApply = () => cancel(plane)
    const { error, status, hosts } = await fail(plane)
    expect([error.code, status]).to.deep.equal(['CANCELLED', 'cancelled'])
    expect(error.message).to.match(/cancelled by Jo: it stopped before a was handed over\. i-a goes on serving/)
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    expect(machines(plane)).to.deep.equal(['i-a'])
    expect(plane.cloud.gateways.filter(({ id }) => id === 'a')).to.have.length(1)
    expect(plane.cloud.failed.size).to.equal(0)
  })
})

describe('a deploy that waited for another one', () => {
  for (const target of ['a', 'b']) {
    it(`uses the fleet as the other deploy left it: of ${target}`, async () => {
      const plane = fleet()
      const locks = plane.ports.locks
      const take = locks.take.bind(locks)
      locks.take = async () => {
        locks.take = take
        await deploy(plane, { target: 'a' })
        return take()
      }
      const { hosts } = await deploy(plane, { target, requestId: 'request-0002' })
      expect(plane.progress.notes.join()).to.not.include('interrupted')
      const first = target === 'a' ? { previousAmi: NEW.id, instanceId: 'i-new-2' } : { previousAmi: OLD.id }
      expect(hosts[0]).to.include({ outcome: 'replaced', ...first })
      expect(applied(plane).filter((line) => !line.startsWith('apply'))).to.deep.equal([])
      expect(machines(plane)).to.have.length(1)
      expectOneGateway(plane)
    })
  }

  it('does not give the role back because EC2 did not list the machine that has it', async () => {
    const plane = fleet()
    const i = plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    plane.cloud.state_.set(instanceAddress('a', 'b'), i)
    plane.store.set('active/a.json', { schema: 1, id: 'a', instanceId: i, from: 'i-a', deploy: 'x', at: 'x' })
    await plane.clock.pass(120_000)
    const all = plane.cloud.describeHosts.bind(plane.cloud)
    plane.cloud.describeHosts = async () => (await all()).filter(({ instanceId }) => instanceId !== i)
    plane.cloud.beforeApply = () => {
      throw new ClawctlError('APPLY_FAILED', 'Not this time.')
    }
    await fail(plane, { target: 'b' })
    expect(holder(plane)).to.equal(i)
    expect(plane.progress.notes.join()).to.not.include('interrupted')
  })

  it("continues if the role of another instance can't be restored", async () => {
    const plane = fleet()
    plane.store.set('active/a.json', { schema: 1, id: 'a', instanceId: NO_MACHINE, from: 'i-a', deploy: 'x', at: 'x' })
    for (const { host } of plane.cloud.machines) if (host.id === 'a') host.state = 'stopped'
    plane.cloud.start = async () => {
      throw new ClawctlError('UPSTREAM', 'InsufficientInstanceCapacity')
    }
    const { hosts } = await deploy(plane, { target: 'all' })
    expect(hosts.map(({ outcome }) => outcome)).to.deep.equal(['replaced', 'replaced'])
    expect(plane.progress.notes.join()).to.include('a: its role could not be restored')
  })
})
