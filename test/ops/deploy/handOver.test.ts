import { expect } from 'chai'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { hostOf, NEW, OLD, REQUEST_ID, upstream } from '../../support/fakes.js'
import { applied, deploy, expectOneGateway, fail, fleet, holder, machines } from '../../support/handOvers.js'

describe('a deploy by handover', () => {
  it('creates the candidate in the free slot, hands over, and then destroys the old machine', async () => {
    const plane = fleet()
    const done = await deploy(plane)
    expect(done.hosts[0]).to.include({ outcome: 'replaced', ami: NEW.id, previousAmi: OLD.id, instanceId: 'i-new-1' })
    expect(applied(plane)).to.deep.equal(['apply create a/b', 'apply delete a'])
    expect(machines(plane)).to.deep.equal(['i-new-1'])
    expect(holder(plane)).to.equal('i-new-1')
    expect(plane.cloud.connected('a')).to.deep.equal(['i-new-1'])
    expect([...plane.store.objects.keys()]).to.not.include('heartbeats/a/i-a.json')
    expectOneGateway(plane)
  })

  it('uses the first slot again in the next deploy', async () => {
    const plane = fleet()
    await deploy(plane)
    await deploy(plane, { amiOverride: OLD.id, requestId: 'request-0002' })
    expect(applied(plane).slice(2)).to.deep.equal(['apply create a', 'apply delete a/b'])
    expect(machines(plane)).to.deep.equal(['i-new-2'])
    expectOneGateway(plane)
  })

  it('passes plans the machines of every id of the state', async () => {
    const plane = fleet()
    await deploy(plane)
    const [create, destroy] = plane.cloud.planned
    expect(create).to.deep.include({
      ami: NEW.id,
      requestId: REQUEST_ID,
      instances: ['a', 'b'],
      slots: { a: ['a', 'b'], b: ['a'] },
      kept: { b: 'bootstrap/b' },
    })
    expect(destroy).to.deep.include({ slots: { a: ['b'], b: ['a'] }, kept: { a: 'bootstrap/a', b: 'bootstrap/b' } })
  })

  it('checks the planned launch with EC2 before anything is applied', async () => {
    const plane = fleet()
    plane.cloud.dryRunSays = { denied: false, reason: 'Unsupported: no such type here' }
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('LAUNCH_REFUSED')
    expect(error.message).to.include('Unsupported')
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    expect(applied(plane)).to.deep.equal([])
    expect(plane.cloud.launches[0]).to.include({ ami: NEW.id, profile: 'a', subnetId: 'subnet-1', rootGib: 60 })
    plane.cloud.dryRunSays = { denied: true, reason: 'UnauthorizedOperation' }
    expect((await fail(plane)).error.code).to.equal('DENIED')
  })

  it('refuses an image that is larger than the root volume', async () => {
    const plane = fleet()
    for (const image of plane.cloud.images) image.rootGib = 61
    expect((await fail(plane)).error).to.include({ code: 'AMI_REFUSED' })
    expect(applied(plane)).to.deep.equal([])
  })

  it('rolls all hosts, with at most one machine more than the fleet', async () => {
    const plane = fleet('healthy', ['a', 'b', 'c'], ['a', 'b', 'c'])
    let most = 0
    plane.clock.ticks.push(() => {
      most = Math.max(most, plane.cloud.hosts.length)
    })
    const { hosts } = await deploy(plane, { target: 'all' })
    expect(hosts.map(({ outcome }) => outcome)).to.deep.equal(['replaced', 'replaced', 'replaced'])
    expect(most).to.equal(4)
    expectOneGateway(plane)
  })

  it('names the serving machine before a second one exists', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = (nth) => {
      if (nth === 1) expect(holder(plane)).to.equal('i-a')
    }
    await deploy(plane)
  })

  it('creates a new host that is not active until it has passed its checks', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.beforeApply = () => expect(holder(plane)).to.equal(NO_MACHINE)
    const { hosts } = await deploy(plane)
    expect(hosts[0]).to.include({ outcome: 'created', instanceId: 'i-new-1', previousAmi: null })
    expect(applied(plane)).to.deep.equal([
      'apply create instance_profile:a create role:a create role_policy:a create a',
    ])
    expect(plane.cloud.connected('a')).to.deep.equal(['i-new-1'])
  })

  it('stops a machine by EC2 that has not yielded after 90 s, before the candidate becomes active', async () => {
    const plane = fleet()
    plane.cloud.deaf.add('i-a')
    await deploy(plane)
    expect(applied(plane)).to.deep.equal(['apply create a/b', 'stop i-a', 'apply delete a'])
    expectOneGateway(plane)
  })
})

describe('a candidate that fails before the handover', () => {
  for (const boot of ['silent', 'crash', 'bad-token'] as const) {
    it(`is destroyed, and the old machine never stopped: ${boot}`, async () => {
      const plane = fleet(boot)
      const { error, status, hosts } = await fail(plane)
      expect(error.code).to.equal('KEPT')
      expect(error.message).to.match(/i-a goes on serving with ami-0+1\.$/)
      expect([status, ...hosts]).to.deep.equal(['kept', `a kept ${OLD.id} i-a`])
      expect(applied(plane)).to.deep.equal(['apply create a/b', 'apply delete a/b'])
      expect(plane.cloud.gateways.filter(({ id }) => id === 'a')).to.have.length(1)
      expect(holder(plane)).to.equal('i-a')
    })
  }

  it('is reported with the reason', async () => {
    expect((await fail(fleet('bad-token'))).error.message).to.include('the token of discord is rejected: Unauthorized')
    expect((await fail(fleet('crash'))).error.message).to.match(/its gateway restarted \d+ times/)
    const mute = fleet('silent')
    mute.cloud.consoleText = 'booting\r\nclawdinator-bootstrap: no network\n\u001b[0mlogin: '
    expect((await fail(mute)).error.message).to.include('its console shows: clawdinator-bootstrap: no network')
  })

  it('marks its AMI as failed, which the next deploy refuses, naming the last good one', async () => {
    const plane = fleet('bad-token')
    await fail(plane)
    expect([...plane.cloud.failed]).to.deep.equal([[NEW.id, REQUEST_ID]])
    Object.assign(plane.cloud.images[1] ?? {}, { failedIn: REQUEST_ID })
    const { error } = await fail(plane, { requestId: 'request-0002' })
    expect(error.code).to.equal('AMI_FAILED_BEFORE')
    expect(error.message).to.include(REQUEST_ID).and.to.include(OLD.id)
    const { error: named } = await fail(plane, { amiOverride: NEW.id })
    expect(named.code).to.equal('KEPT')
  })

  it('does not mark an AMI with which another host is healthy', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = (nth) => {
      if (nth === 3) plane.cloud.boots.set(NEW.id, 'silent')
    }
    const { hosts } = await fail(plane, { target: 'all' })
    expect(hosts).to.deep.equal([`a replaced ${NEW.id} i-new-1`, `b kept ${OLD.id} i-b`])
    expect(plane.cloud.failed.size).to.equal(0)
  })

  it('is kept for inspection with --on-failure stop', async () => {
    const plane = fleet('silent')
    const { error } = await fail(plane, {}, { onFailure: 'stop' })
    expect(error.message).to.include('The candidate i-new-1 was not changed.')
    expect(machines(plane)).to.deep.equal(['i-a', 'i-new-1'])
  })

  it('suggests --strategy replace if EC2 has no capacity for one more', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = () => {
      throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed in apply: VcpuLimitExceeded: You have requested more')
    }
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('KEPT')
    expect(error.hint).to.include('--strategy replace')
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    expect(plane.cloud.failed.size).to.equal(0)
  })

  it('is removed if the apply failed after its creation', async () => {
    const plane = fleet()
    plane.cloud.afterApply = (nth) => {
      if (nth === 1) throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    expect((await fail(plane)).error.code).to.equal('KEPT')
    expect(machines(plane)).to.deep.equal(['i-a'])
  })

  it("is reported if it can't be destroyed", async () => {
    const plane = fleet('silent')
    plane.cloud.beforeApply = (nth) => {
      if (nth === 2) throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    expect((await fail(plane)).error.message).to.include(
      'The candidate i-new-1 could not be destroyed: OpenTofu failed.',
    )
  })

  it('leaves nothing behind for a new host', async () => {
    const plane = fleet('silent', ['b'])
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(error.message).to.include('It did not exist before')
    expect(hosts).to.deep.equal(['a failed null null'])
    expect(machines(plane)).to.deep.equal([])
  })

  it("is not destroyed if its health can't be read", async () => {
    const plane = fleet()
    plane.cloud.afterApply = () => {
      plane.cloud.onDescribe = () => {
        throw new ClawctlError('DENIED', 'AWS refused.', { hint: 'Grant it.' })
      }
    }
    const { error, hosts } = await fail(plane)
    expect(error).to.include({ code: 'DENIED', hint: 'Grant it.' })
    expect(hosts).to.deep.equal([`a kept ${OLD.id} i-a`])
    expect(plane.cloud.failed.size).to.equal(0)
  })
})

describe('a role that can not be handed over', () => {
  /** The store refuses this key as soon as the candidate is there. */
  const refusing = (plane: ReturnType<typeof fleet>, method: 'get' | 'putIf', of: string) => {
    const real = plane.store[method].bind(plane.store) as (...args: unknown[]) => Promise<never>
    const given = async (...args: unknown[]) => {
      if (args[0] === of && machines(plane).includes('i-new-1')) throw upstream()
      return real(...args)
    }
    Object.assign(plane.store, { [method]: given })
    return plane
  }

  it('leaves the candidate to the next deploy where S3 does not say whether it is cancelled', async () => {
    const plane = refusing(fleet(), 'get', `control/cancel/${REQUEST_ID}.json`)
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['UPSTREAM', `a kept ${OLD.id} i-a`])
    expect(machines(plane)).to.deep.equal(['i-a', 'i-new-1'])
  })

  it('leaves the old machine serving where nobody else could be named, and EC2 stopped nothing', async () => {
    const plane = refusing(fleet(), 'putIf', 'active/a.json')
    const { error, hosts } = await fail(plane)
    expect([error.code, ...hosts]).to.deep.equal(['UPSTREAM', `a kept ${OLD.id} i-a`])
    expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
  })

  it('leaves a host that is new without one', async () => {
    const { error, hosts } = await fail(refusing(fleet('healthy', ['b']), 'putIf', 'active/a.json'))
    expect([error.code, ...hosts]).to.deep.equal(['UPSTREAM', 'a failed null null'])
  })
})

describe('a candidate that fails after the handover', () => {
  it('gives the role back, and the old machine serves again', async () => {
    const plane = fleet('fails-active')
    const { error, status, hosts } = await fail(plane)
    expect(error.code).to.equal('ROLLED_BACK')
    expect(error.message).to.match(/discord is not connected.*i-a serves again with ami-0+1\.$/)
    expect([status, ...hosts]).to.deep.equal(['rolled-back', `a rolled-back ${OLD.id} i-a`])
    expect(machines(plane)).to.deep.equal(['i-a'])
    expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
    expect([...plane.cloud.failed.keys()]).to.deep.equal([NEW.id])
    expectOneGateway(plane)
  })

  it('makes EC2 start the old machine again if EC2 had stopped it', async () => {
    const plane = fleet('fails-active')
    plane.cloud.deaf.add('i-a')
    plane.clock.ticks.push(() => {
      if (plane.cloud.log.includes('stop i-a')) plane.cloud.deaf.delete('i-a')
    })
    expect((await fail(plane)).error.code).to.equal('ROLLED_BACK')
    expect(applied(plane)).to.include('start i-a')
    expect(plane.cloud.connected('a')).to.deep.equal(['i-a'])
    expectOneGateway(plane)
  })

  it('is reported if the old machine is lost meanwhile', async () => {
    const plane = fleet('fails-active')
    plane.clock.ticks.push(() => {
      if (plane.cloud.connected('a')[0] === 'i-new-1') plane.cloud.lose('i-a')
    })
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(hosts[0]).to.match(/^a failed/)
  })

  it('is kept with --on-failure stop', async () => {
    const plane = fleet('fails-active')
    const { error, hosts } = await fail(plane, {}, { onFailure: 'stop' })
    expect(error.code).to.equal('HEALTH_FAILED')
    expect(hosts).to.deep.equal([`a failed ${NEW.id} i-new-1`])
  })

  it("does not count as done if the old machine can't be destroyed", async () => {
    const plane = fleet()
    plane.cloud.beforeApply = (nth) => {
      if (nth === 2) throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
    }
    const { error, hosts } = await fail(plane)
    expect(error.code).to.equal('APPLY_FAILED')
    expect(error.message).to.include('a serves on i-new-1, but its old machine i-a could not be destroyed')
    expect(error.hint).to.equal('Deploy a again: it goes on from there.')
    expect(hosts).to.deep.equal([`a failed ${NEW.id} i-new-1`])
    plane.cloud.beforeApply = () => {}
    const { hosts: again } = await deploy(plane, { requestId: 'request-0002' })
    expect(again[0]).to.include({ outcome: 'replaced', instanceId: 'i-new-1' })
    expect(machines(plane)).to.deep.equal(['i-new-1'])
  })
})

describe('lost machines', () => {
  it('are created again by name, in any number', async () => {
    const plane = fleet('healthy', ['a', 'b', 'c'], ['a', 'b', 'c', 'd'])
    plane.cloud.lose('i-a')
    plane.cloud.lose('i-b')
    const { hosts } = await deploy(plane, { target: 'all' })
    expect(hosts.map(({ id, outcome }) => `${id} ${outcome}`)).to.deep.equal([
      'a created',
      'b created',
      'd created',
      'c replaced',
    ])
    expect(plane.cloud.hosts.map(({ id }) => id).sort()).to.deep.equal(['a', 'b', 'c', 'd'])
  })

  it('stay lost if they are not named, and are reported', async () => {
    const plane = fleet('healthy', ['a', 'b', 'c'], ['a', 'b', 'c'])
    plane.cloud.lose('i-b')
    plane.cloud.lose('i-c')
    await deploy(plane)
    expect(machines(plane, 'b')).to.deep.equal([])
    expect(plane.progress.notes).to.include('Missing, and not part of this deploy: b, c.')
  })

  it('do not prevent the removal of a failed candidate', async () => {
    const plane = fleet('silent')
    plane.clock.ticks.push(() => plane.cloud.lose('i-b'))
    expect((await fail(plane)).error.code).to.equal('KEPT')
    expect(machines(plane)).to.deep.equal(['i-a'])
  })

  it('are not reported because EC2 once did not list them', async () => {
    const plane = fleet()
    const hosts = plane.cloud.describeHosts.bind(plane.cloud)
    let asked = 0
    plane.cloud.describeHosts = async () => {
      asked += 1
      return (await hosts()).filter((host) => host.instanceId !== 'i-b' || asked % 2 === 0)
    }
    const { hosts: done } = await deploy(plane)
    expect(done[0]?.outcome).to.equal('replaced')
    expect(machines(plane, 'b')).to.deep.equal(['i-b'])
  })

  it('are read by their id for a minute before they count as lost', async () => {
    const plane = fleet()
    plane.cloud.lose('i-b')
    plane.cloud.describeHost = async () => null
    await fail(plane, {}, { planOnly: true }).catch(() => {})
    expect(plane.clock.elapsed).to.be.at.least(60_000)
  })
})

describe('what an earlier deploy left', () => {
  it('is adopted if it serves and the state does not have it', async () => {
    const plane = fleet('healthy', ['b'])
    plane.cloud.addUnmanaged(hostOf('a'))
    const { hosts } = await deploy(plane)
    expect(hosts[0]).to.include({ outcome: 'replaced', previousAmi: OLD.id })
    expect(plane.cloud.planned[0]?.adopt.instances).to.deep.equal({ a: 'i-a' })
    expect(plane.cloud.planned[0]?.slots.a).to.deep.equal(['a', 'b'])
    expect(machines(plane)).to.deep.equal(['i-new-1'])
    expectOneGateway(plane)
  })

  it('is terminated by EC2 if it never served and the state does not have it', async () => {
    const plane = fleet()
    plane.store.set('active/a.json', { schema: 1, id: 'a', instanceId: 'i-a', from: null, deploy: null, at: 'x' })
    plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
    await deploy(plane)
    expect(applied(plane)[0]).to.equal('terminate i-new-1')
    expect(machines(plane)).to.deep.equal(['i-new-2'])
  })

  it('is refused if two machines are active and neither was named', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-z', launchedAt: '2026-02-28T00:00:00.000Z' }))
    const { error } = await fail(plane)
    expect(error.code).to.equal('NOT_IN_STATE')
    expect(error.message).to.include('i-z')
    expect(error.hint).to.include('clawctl fleet recover a --terminate i-z')
    expect(applied(plane)).to.deep.equal([])
  })

  it('is kept if it runs and is only tainted', async () => {
    const plane = fleet()
    plane.cloud.tainted.add(instanceAddress('b'))
    await deploy(plane)
    expect(plane.cloud.log).to.include(`untaint ${instanceAddress('b')}`)
    expect(machines(plane, 'b')).to.deep.equal(['i-b'])
  })

  it("stops the deploy if the active machine can't be read", async () => {
    const plane = fleet()
    plane.store.set('active/a.json', 'not an object')
    expect((await fail(plane)).error.code).to.equal('ROLE_UNREADABLE')
    expect(applied(plane)).to.deep.equal([])
  })

  it('is not changed if another deploy writes the active machine at the same moment', async () => {
    const plane = fleet()
    const putIf = plane.store.putIf.bind(plane.store)
    plane.store.putIf = async (key, text, etag) => {
      if (!key.startsWith('active/')) return putIf(key, text, etag)
      plane.store.set(key, { schema: 1, id: 'a', instanceId: 'i-x', from: null, deploy: 'other', at: 'x' })
      return false
    }
    expect((await fail(plane)).error.code).to.equal('ROLE_LOST')
    expect(applied(plane)).to.deep.equal([])
  })
})

describe('a gate whose service does not answer', () => {
  it('polls until its time limit, and does not give up a healthy machine', async () => {
    const plane = fleet()
    let asked = 0
    plane.cloud.onDescribe = () => {
      if (plane.clock.sleeps.length === 0 || plane.cloud.connected('a')[0] === 'i-new-1') return
      asked += 1
      if (asked % 3 === 0) throw upstream()
    }
    expect((await deploy(plane)).status).to.equal('succeeded')
    expect(asked).to.be.above(5)
  })
})
