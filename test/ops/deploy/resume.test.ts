import { expect } from 'chai'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE, parseActive } from '../../../src/lib/domain/deploy/active.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { restoreRoles, taintedOf } from '../../../src/lib/ops/deploy/resume.js'
import { failureOf } from '../../support/failure.js'
import type { Boot } from '../../support/fakeCloud.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import {
  entryOf,
  heartbeatOf,
  hostOf,
  NEW,
  OLD,
  REQUEST_ID,
  registryOf,
  registrySource,
  START,
  upstream,
} from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>

function fleet(boot: Boot = 'healthy') {
  const plane = fakeDirectPlane(registryOf('a', 'b'), ['a', 'b'])
  plane.cloud.boots.set(NEW.id, boot)
  return plane
}
const deploy = (plane: Plane, order: Partial<Order> = {}) =>
  deployFleet({ target: 'a', requestId: REQUEST_ID, ...order }, deployOptions(), plane.ports)
const hostIn = ({ partial }: ClawctlError) => {
  const done = partial?.deploy as Deploy
  return done.hosts[0]
}
const applied = ({ cloud }: Plane) => cloud.log.filter((line) => /^(?:apply|stop|start|terminate)/.test(line))
const holder = ({ store }: Plane) => parseActive(store.objects.get('active/a.json')?.text ?? '')?.instanceId
const name = ({ store }: Plane, instanceId: string, from: string | null = null) =>
  store.set('active/a.json', { schema: 1, id: 'a', instanceId, from, deploy: null, at: START })
/** A machine that an earlier deploy created in slot b. */
function made(plane: Plane, inState: boolean) {
  const instanceId = plane.cloud.launch('a', 'b', { ami: NEW.id, requestId: null })
  if (inState) plane.cloud.state_.set(instanceAddress('a', 'b'), instanceId)
  return instanceId
}

describe('an interrupted handover of an earlier deploy', () => {
  function handedOver(boot: Boot = 'healthy') {
    const plane = fleet(boot)
    name(plane, made(plane, true), 'i-a')
    return plane
  }

  it('is finished, and is the whole deploy if its AMI is the wanted one', async () => {
    const plane = handedOver()
    expect((await deploy(plane)).hosts[0]).to.include({ outcome: 'replaced', ami: NEW.id, instanceId: 'i-new-1' })
    expect(applied(plane)).to.deep.equal(['apply delete a'])
  })

  it('is finished before another AMI is deployed', async () => {
    const plane = handedOver()
    const { hosts } = await deploy(plane, { amiOverride: OLD.id })
    expect(hosts[0]).to.include({ outcome: 'replaced', ami: OLD.id, instanceId: 'i-new-2' })
    expect(applied(plane)).to.deep.equal(['apply delete a', 'apply create a', 'apply delete a/b'])
  })

  for (const [what, order, instanceType] of [
    ['another instance type', {}, 't3.xlarge'],
    ['the newest configuration', { configRevision: 'newest' }, undefined],
  ] as const) {
    it(`is finished before a machine with ${what} is deployed`, async () => {
      const plane = handedOver()
      if (instanceType) plane.ports.registry = registrySource([entryOf('a', { instanceType }), entryOf('b')])
      const { hosts } = await deploy(plane, order)
      expect(hosts[0]).to.include({ outcome: 'replaced', ami: NEW.id, instanceId: 'i-new-2' })
    })
  }

  it('is rolled back if its candidate fails', async () => {
    const plane = handedOver('fails-active')
    const error = await failureOf(deploy(plane, { amiOverride: NEW.id }))
    expect(error.code).to.equal('ROLLED_BACK')
    expect(hostIn(error)).to.include({ outcome: 'rolled-back', instanceId: 'i-a' })
    expect(applied(plane)).to.deep.equal(['apply delete a/b'])
    expect(holder(plane)).to.equal('i-a')
  })

  it('is rolled back if its candidate fails, before another AMI is deployed', async () => {
    const plane = handedOver('fails-active')
    plane.cloud.boots.set(OLD.id, 'healthy')
    const { hosts } = await deploy(plane, { amiOverride: OLD.id })
    expect(hosts[0]).to.include({ outcome: 'replaced', ami: OLD.id })
    expect(applied(plane)[0]).to.equal('apply delete a/b')
  })

  it('does not stop the deploy of another AMI where neither of its machines is healthy', async () => {
    const plane = handedOver('fails-active')
    for (const machine of plane.cloud.machines) if (machine.host.id === 'a') machine.boot = 'fails-active'
    const { hosts } = await deploy(plane, { amiOverride: OLD.id })
    expect(hosts[0]).to.include({ outcome: 'replaced', ami: OLD.id, instanceId: 'i-new-2' })
    expect(applied(plane)).to.deep.equal(['apply delete a/b', 'apply create a/b', 'apply delete a'])
    expect(holder(plane)).to.equal('i-new-2')
    expect(plane.progress.said.join()).to.include(`a on ${NEW.id} is not healthy`)
  })

  it('fails the deploy where its own AMI passes on neither machine', async () => {
    const plane = handedOver('fails-active')
    for (const machine of plane.cloud.machines) if (machine.host.id === 'a') machine.boot = 'fails-active'
    const error = await failureOf(deploy(plane))
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(hostIn(error)).to.include({ outcome: 'failed', instanceId: 'i-a' })
  })

  it('stops the deploy of another AMI where the old machine does not get the role back', async () => {
    const plane = handedOver('fails-active')
    const putIf = plane.store.putIf.bind(plane.store)
    plane.store.putIf = async (key, text, etag) => {
      if (key === 'active/a.json' && plane.progress.said.some((clause) => clause.includes('takes over again')))
        throw new ClawctlError('DENIED', 'S3 refuses it.')
      return putIf(key, text, etag)
    }
    const error = await failureOf(deploy(plane, { amiOverride: OLD.id }))
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(hostIn(error)).to.include({ outcome: 'failed', instanceId: 'i-new-1' })
    expect(applied(plane)).to.deep.equal([])
  })

  it('stops the deploy of another AMI where it can not be taken back', async () => {
    const plane = handedOver('fails-active')
    plane.clock.ticks.push(() => {
      if (plane.cloud.connected('a')[0] === 'i-new-1') plane.cloud.lose('i-a')
    })
    const error = await failureOf(deploy(plane, { amiOverride: OLD.id }))
    expect(error.code).to.equal('ROLLBACK_FAILED')
    expect(applied(plane).join()).to.not.include('create')
  })
})

describe('a machine that serves and that EC2 has stopped', () => {
  const starting = async (code: 'CANCELLED' | 'DENIED') => {
    const plane = fleet()
    name(plane, 'i-a')
    for (const { host } of plane.cloud.machines) if (host.instanceId === 'i-a') host.state = 'stopped'
    plane.cloud.start = () => Promise.reject(new ClawctlError(code, 'It failed.'))
    return {
      plane,
      error: await deploy(plane).then(
        () => null,
        (error: ClawctlError) => error.code,
      ),
    }
  }

  it('is replaced where it can not be started, and left where its start is interrupted', async () => {
    const denied = await starting('DENIED')
    expect([denied.error, holder(denied.plane)]).to.deep.equal([null, 'i-new-1'])
    expect(denied.plane.progress.said).to.include('It failed.')
    const interrupted = await starting('CANCELLED')
    expect([interrupted.error, applied(interrupted.plane)]).to.deep.equal(['CANCELLED', []])
  })
})

describe('a role without a machine', () => {
  it('is given back only when the other active machine has stopped', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', slot: 'b', launchedAt: START }))
    name(plane, NO_MACHINE, 'i-a')
    let named = 0
    plane.store.beforePut = (key, nth) => {
      if (key !== 'active/a.json' || named > 0) return
      named = nth
      expect(plane.cloud.connected('a')).to.not.include('i-x')
    }
    await deploy(plane)
    expect(named).to.be.above(0)
    expect(applied(plane)[0]).to.equal('terminate i-x')
  })

  for (const beat of [null, 'standby'] as const) {
    it(`is given back immediately beside a machine that ${beat === null ? 'never reported' : 'waits in standby'}`, async () => {
      const plane = fleet()
      const host = hostOf('a', { instanceId: 'i-x', slot: 'b', launchedAt: START })
      if (beat) plane.store.set('heartbeats/a/i-x.json', heartbeatOf(host, { stage: beat }))
      name(plane, NO_MACHINE, 'i-a')
      await restoreRoles([...plane.cloud.hosts, host], REQUEST_ID, plane.ports)
      expect(holder(plane)).to.equal('i-a')
      expect([plane.clock.elapsed, applied(plane)]).to.deep.equal([0, []])
    })
  }

  it("is given back although EC2's list was old, to a machine that is started again", async () => {
    const plane = fleet()
    for (const { host } of plane.cloud.machines) if (host.instanceId === 'i-a') host.state = 'stopped'
    name(plane, NO_MACHINE, 'i-a')
    const listed = plane.cloud.describeHosts.bind(plane.cloud)
    let asked = 0
    plane.cloud.describeHosts = async () => {
      asked += 1
      return (await listed()).filter(({ instanceId }) => asked > 1 || instanceId !== 'i-a')
    }
    await deploy(plane)
    expect(applied(plane)).to.deep.equal(['start i-a', 'apply create a/b', 'apply delete a'])
  })

  it('is given back only when EC2 has stopped the other machine, if that does not yield', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('a', { instanceId: 'i-x', slot: 'b', launchedAt: START }))
    plane.cloud.deaf.add('i-x')
    name(plane, NO_MACHINE, 'i-a')
    await restoreRoles(plane.cloud.hosts, REQUEST_ID, plane.ports)
    expect([holder(plane), applied(plane)]).to.deep.equal(['i-a', ['stop i-x']])
    expect(plane.clock.elapsed).to.be.at.least(90_000)
    expect(plane.cloud.connected('a')).to.not.include('i-x')
    expect(plane.progress.notes).to.include('a: a handover was interrupted: i-a gets its role back')
  })

  it("is not given to a machine that a person stopped; a role that can't be read is skipped", async () => {
    const plane = fleet()
    for (const { host } of plane.cloud.machines) if (host.instanceId === 'i-a') host.state = 'stopped'
    name(plane, 'i-a')
    plane.store.set('active/b.json', '{}')
    await restoreRoles(plane.cloud.hosts, REQUEST_ID, plane.ports)
    expect([applied(plane), plane.progress.notes]).to.deep.equal([[], []])
  })

  it('stops the deploy if it is interrupted meanwhile, but not if the restore fails', async () => {
    const outcome = async (code: 'CANCELLED' | 'DENIED') => {
      const plane = fleet()
      name(plane, NO_MACHINE, 'i-a')
      for (const { host } of plane.cloud.machines) if (host.instanceId === 'i-a') host.state = 'stopped'
      plane.cloud.start = () => Promise.reject(new ClawctlError(code, 'It failed.'))
      const restored = restoreRoles(plane.cloud.hosts, REQUEST_ID, plane.ports)
      return code === 'CANCELLED' ? (await failureOf(restored)).code : restored.then(() => plane.progress.notes.at(-1))
    }
    expect(await outcome('CANCELLED')).to.equal('CANCELLED')
    expect(await outcome('DENIED')).to.equal('a: its role could not be restored: It failed.')
  })

  it('is read only for valid ids', async () => {
    const plane = fleet()
    const read: string[] = []
    plane.store.get = async (key) => {
      read.push(key)
      return null
    }
    await restoreRoles([hostOf('a'), hostOf('../state')], REQUEST_ID, plane.ports)
    expect(read).to.deep.equal(['active/a.json'])
  })
})

describe('a machine that an earlier deploy left', () => {
  it('is destroyed by a plan if the state has it, although no machine was named; other resources stay tainted', async () => {
    const plane = fleet()
    made(plane, true)
    plane.cloud.tainted.add(instanceAddress('a', 'b'))
    plane.cloud.tainted.add(instanceAddress('b'))
    await deploy(plane)
    expect(applied(plane)[0]).to.equal('apply delete a/b')
    expect(plane.cloud.log.filter((line) => line.startsWith('untaint'))).to.deep.equal([
      `untaint ${instanceAddress('b')}`,
    ])
    expect(plane.store.puts.map(({ text }) => JSON.parse(text).hosts?.[0]?.step?.clause)).to.include(
      `${instanceAddress('b')} exists and is kept`,
    )
  })

  it('is terminated once although it shuts down slowly', async () => {
    const plane = fleet()
    made(plane, false)
    name(plane, 'i-a')
    plane.cloud.terminate = async (instanceId) => {
      plane.cloud.log.push(`terminate ${instanceId}`)
      for (const { host } of plane.cloud.machines) if (host.instanceId === instanceId) host.state = 'shutting-down'
    }
    expect((await deploy(plane)).status).to.equal('succeeded')
    expect(applied(plane).filter((line) => line.startsWith('terminate'))).to.have.length(1)
  })

  /** EC2's answers about the leftover by its id, one after the other; the last one is repeated. */
  const answering = (...states: (Host['state'] | 'terminated' | null)[]) => {
    const plane = fleet()
    const instanceId = made(plane, false)
    name(plane, 'i-a')
    const asked = plane.cloud.describeHost.bind(plane.cloud)
    let nth = 0
    plane.cloud.describeHost = async (id) => {
      if (id !== instanceId) return asked(id)
      const state = states[Math.min(nth++, states.length - 1)] ?? null
      return state === null || state === 'terminated' ? state : hostOf('a', { instanceId, state })
    }
    return plane
  }

  it('counts as gone if EC2 does not know it for a minute', async () => {
    const plane = answering(null)
    expect((await deploy(plane)).status).to.equal('succeeded')
    expect(applied(plane)[0]).to.equal('apply create a/b')
  })

  it('is terminated if EC2 did not know it at first', async () => {
    const plane = answering(null, 'running', 'running', 'terminated')
    await deploy(plane)
    expect(applied(plane).slice(0, 2)).to.deep.equal(['terminate i-new-1', 'apply create a/b'])
  })

  it('stops the deploy if EC2 does not terminate it within 5 minutes', async () => {
    const plane = answering('running')
    plane.cloud.terminate = async () => {}
    const error = await failureOf(deploy(plane))
    expect(error.code).to.equal('APPLY_FAILED')
    expect(error.message).to.equal('EC2 does not terminate i-new-1: EC2 reports running.')
    expect(error.hint).to.include('what protects i-new-1')
    expect(plane.clock.elapsed).to.equal(5 * 60_000)
  })
})

describe('the evidence of a gate', () => {
  const evidence = async (plane: Plane) => hostIn(await failureOf(deploy(plane)))?.evidence

  it('is recorded only for a failed machine', async () => {
    expect((await deploy(fleet())).hosts[0]?.evidence).to.equal(undefined)
    const plane = fleet('silent')
    plane.cloud.console = () => Promise.reject(upstream())
    expect(await evidence(plane)).to.deep.include({ instanceId: 'i-new-1', console: [] })
  })

  it('has the AMI of the deploy if EC2 never showed the machine', async () => {
    const plane = fleet()
    plane.cloud.afterApply = (nth) => {
      if (nth === 1) plane.cloud.describeHosts = async () => plane.cloud.hosts.filter(({ ami }) => ami !== NEW.id)
    }
    plane.clock.onSleep = () => {
      if (plane.clock.elapsed > 60_000) plane.cloud.lose('i-new-1')
    }
    expect(await evidence(plane)).to.include({ instanceId: 'i-new-1', ami: NEW.id })
    expect(applied(plane)).to.deep.equal(['apply create a/b'])
  })

  it("has the console's last lines only for a machine without a heartbeat", async () => {
    const message = async (boot: Boot, consoleText: string) => {
      const plane = fleet(boot)
      plane.cloud.consoleText = consoleText
      return (await failureOf(deploy(plane))).message
    }
    expect(await message('silent', 'no network')).to.include('its console shows: no network')
    expect(await message('silent', '')).to.not.include('console')
    expect(await message('bad-token', 'no network')).to.not.include('console')
  })
})

describe('the role of a serving machine', () => {
  it('is not written again if the right machine has it', async () => {
    const plane = fleet()
    name(plane, 'i-a')
    plane.cloud.beforeApply = (nth) => {
      if (nth === 1) expect(plane.store.puts.map(({ key }) => key)).to.not.include('active/a.json')
    }
    await deploy(plane)
  })
})

describe('taintedOf', () => {
  it('ignores a resource that was interrupted before it had an id, and one that no longer exists', () => {
    const resources = [
      { address: 'x', id: null, tainted: true },
      { address: 'y', id: 'i-1', tainted: true },
      { address: 'z', id: 'i-2' },
    ]
    expect(taintedOf({ resources, gone: new Set() })).to.deep.equal([{ address: 'y', id: 'i-1' }])
    expect(taintedOf({ resources, gone: new Set(['i-1']) })).to.deep.equal([])
  })
})
