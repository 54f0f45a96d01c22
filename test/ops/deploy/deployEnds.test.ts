import { expect } from 'chai'
import type { Deploy, Order } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { type DeployFleetPorts, deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import type { DeployOptions } from '../../../src/lib/ops/deploy/plane.js'
import { failureOf } from '../../support/failure.js'
import type { Boot } from '../../support/fakeCloud.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { NEW, OLD, REQUEST_ID, registryOf, START, upstream } from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>

function fleet(boot: Boot = 'healthy', existing = ['a', 'b']) {
  const plane = fakeDirectPlane(registryOf('a', 'b'), existing)
  plane.cloud.boots.set(NEW.id, boot)
  return plane
}
const deploy = (
  plane: Plane,
  order: Partial<Order> = {},
  options: Partial<DeployOptions> = {},
  ports: Partial<DeployFleetPorts> = {},
) => deployFleet({ target: 'a', requestId: REQUEST_ID, ...order }, deployOptions(options), { ...plane.ports, ...ports })
const ended = async (failing: Promise<Deploy>) => (await failureOf(failing)).partial?.deploy as Deploy

describe('the end of a deploy', () => {
  it('is posted for every outcome, and a failed post is reported; a plan is not posted', async () => {
    const posted: string[] = []
    const announce = async ({ status }: Deploy) => {
      posted.push(status)
      return ['the channel is full']
    }
    const plane = fleet()
    await deploy(plane, {}, { planOnly: true }, { announce })
    expect(posted).to.deep.equal([])
    await deploy(plane, {}, {}, { announce })
    await failureOf(deploy(plane, { target: 'zzz' }, {}, { announce }))
    expect(posted).to.deep.equal(['succeeded', 'failed'])
    expect(plane.progress.notes).to.include('The end of the deploy could not be posted: the channel is full.')
    await deploy(plane, {}, {}, { announce: () => Promise.reject(upstream()) })
    expect(plane.progress.notes).to.include('The end of the deploy could not be posted: it failed.')
  })

  it('does not depend on the step summary', async () => {
    const plane = fleet()
    plane.report.summary = () => Promise.reject(upstream())
    expect((await deploy(plane)).status).to.equal('succeeded')
    expect(plane.progress.notes.join()).to.include('The step summary could not be written: ')
  })

  it('leaves out orphans that were not read, and keeps a target in one line', async () => {
    const plane = fleet()
    const { target } = await ended(deploy(plane, { target: 'a\n\n b' }))
    expect(target).to.equal('a b')
    expect(plane.report.outputs).to.deep.equal({ status: 'failed' })
    expect(plane.report.summaries[0]).to.match(/\| Reason \|\n[| -]+\|\n$/)
  })

  it('keeps the console of a failed host in the record', async () => {
    const plane = fleet('silent')
    plane.cloud.consoleText = 'booting\nno network'
    const { hosts } = await ended(deploy(plane))
    expect(hosts[0]?.evidence).to.deep.include({
      instanceId: 'i-new-1',
      ami: NEW.id,
      console: ['booting', 'no network'],
    })
  })
})

describe('a deploy before its first host', () => {
  it("reports each host's AMI, and missing instances", async () => {
    const plane = fleet()
    for (const { host } of plane.cloud.machines) if (host.id === 'b') host.state = 'shutting-down'
    await deploy(plane, {}, { planOnly: true })
    expect(plane.progress.said[0]).to.equal(`${NEW.id} (clawdinator-new) for a (replace)`)
    expect(plane.progress.notes).to.include('Missing, and not part of this deploy: b.')
  })

  it('does nothing for an empty registry', async () => {
    const plane = fakeDirectPlane([], [])
    expect(await deploy(plane, { target: 'all' })).to.deep.include({ status: 'succeeded', ami: null, hosts: [] })
  })

  it("gives every host's role back that an interrupted handover left without a machine, but not in a plan", async () => {
    const plane = fleet()
    const active = { schema: 1, id: 'b', instanceId: NO_MACHINE, from: 'i-b', deploy: null, at: START }
    plane.store.set('active/b.json', active)
    const holder = () => JSON.parse(plane.store.objects.get('active/b.json')?.text ?? '{}').instanceId
    await deploy(plane, {}, { planOnly: true })
    expect(holder()).to.equal(NO_MACHINE)
    await deploy(plane)
    expect(holder()).to.equal('i-b')
    expect(plane.progress.notes).to.include('b: a handover was interrupted: i-b gets its role back')
  })

  it('skips only the caller in a deploy of all', async () => {
    const caller = { caller: 'b', requestedBy: 'Ada' }
    const skipped = async (plane: Plane, target: string) => (await deploy(plane, { target, ...caller })).hosts.slice(1)
    expect(await skipped(fleet(), 'a')).to.deep.equal([])
    expect((await skipped(fleet(), 'all'))[0]).to.include({ outcome: 'skipped', ami: OLD.id, instanceId: 'i-b' })
    expect((await skipped(fleet('healthy', ['a']), 'all'))[0]).to.include({ ami: null, instanceId: null })
  })
})

describe('an AMI whose deploy fails', () => {
  const marked = async (plane: Plane, order: Partial<Order> = {}, options: Partial<DeployOptions> = {}) => {
    await failureOf(deploy(plane, order, options))
    return [...plane.cloud.failed.keys()]
  }

  it('is marked if the host was rolled back', async () => {
    expect(await marked(fleet('silent'))).to.deep.equal([NEW.id])
    expect(await marked(fleet('fails-active'))).to.deep.equal([NEW.id])
  })

  it('is not marked if the host keeps it, or ran it before', async () => {
    expect(await marked(fleet('fails-active'), {}, { onFailure: 'stop' })).to.deep.equal([])
    const same = fleet()
    same.cloud.boots.set(OLD.id, 'silent')
    expect(await marked(same, { amiOverride: OLD.id })).to.deep.equal([])
  })

  it("does not change the outcome if it can't be marked", async () => {
    const plane = fleet('silent')
    plane.cloud.markFailed = () => Promise.reject(new ClawctlError('DENIED', 'AWS refused.'))
    expect((await ended(deploy(plane))).status).to.equal('kept')
    expect(plane.progress.notes).to.include(`${NEW.id} could not be marked as failed: AWS refused.`)
  })
})
