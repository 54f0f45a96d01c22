import { expect } from 'chai'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { ID_TYPES, idAddress, instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { failureOf } from '../../support/failure.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, NEW, OLD, REQUEST_ID, registryOf } from '../../support/fakes.js'

const OPTIONS = deployOptions()
const RETIRE_Z = { target: 'z', requestId: REQUEST_ID, retire: true }

/** Hosts a and b, and z and y, which left the registry. */
function fleet() {
  const plane = fakeDirectPlane(registryOf('a', 'b'), ['a', 'b'])
  for (const id of ['z', 'y']) plane.cloud.add(hostOf(id))
  return plane
}
const ids = (plane: ReturnType<typeof fleet>) => plane.cloud.hosts.map((host) => host.id)

describe('retiring an instance', () => {
  it('destroys only this instance, and lists the orphans that keep running', async () => {
    const plane = fleet()
    plane.store.set('active/z.json', {})
    const deploy = await deployFleet(RETIRE_Z, OPTIONS, plane.ports)
    expect(ids(plane)).to.deep.equal(['a', 'b', 'y'])
    expect(deploy).to.include({ status: 'succeeded', retire: true, ami: null })
    expect(deploy.hosts).to.have.length(1)
    expect(deploy.hosts[0]).to.include({
      id: 'z',
      outcome: 'retired',
      ami: null,
      previousAmi: OLD.id,
      instanceId: 'i-z',
    })
    expect([...plane.store.objects.keys()].filter((key) => key.includes('/z'))).to.deep.equal([])
    expect(plane.cloud.planned[0])
      .to.include({ replace: null })
      .and.to.deep.include({
        instances: ['a', 'b', 'y'],
        kept: { a: 'bootstrap/a', b: 'bootstrap/b', y: 'bootstrap/y' },
      })
    expect(plane.progress.notes).to.deep.equal(['Not in the registry, left running: y.'])
    expect(plane.report.summaries[0]).to.include('### Retirement of z: succeeded').and.to.include('| z | retired |')
  })

  it('only plans with --plan-only', async () => {
    const plane = fleet()
    const deploy = await deployFleet(RETIRE_Z, { ...OPTIONS, planOnly: true }, plane.ports)
    expect(deploy.status).to.equal('planned')
    expect(deploy.hosts[0]).to.include({ outcome: 'planned', ami: OLD.id })
    expect(plane.report.summaries[0]).to.include(`\`delete ${instanceAddress('z')}\``)
    expect(ids(plane)).to.include('z')
  })

  it('refuses an instance of the registry before anything is planned', async () => {
    const plane = fleet()
    const error = await failureOf(deployFleet({ ...RETIRE_Z, target: 'a' }, OPTIONS, plane.ports))
    expect(error.code).to.equal('STILL_REGISTERED')
    expect(plane.cloud.log).to.deep.equal([])
  })

  it('refuses an unknown instance', async () => {
    const error = await failureOf(deployFleet({ ...RETIRE_Z, target: 'x' }, OPTIONS, fleet().ports))
    expect(error.code).to.equal('UNKNOWN_TARGET')
    expect(error.hint).to.include('clawctl fleet status')
  })

  it('plans with the AMI of the machine, else with an existing one, because nothing boots it', async () => {
    const amiOf = async (plane: ReturnType<typeof fleet>) => {
      const { hosts } = await deployFleet(RETIRE_Z, { ...OPTIONS, planOnly: true }, plane.ports)
      return [plane.cloud.planned[0]?.ami, hosts[0]?.ami]
    }
    const own = fakeDirectPlane(registryOf('a'), ['a'])
    own.cloud.add(hostOf('z', { ami: NEW.id }))
    expect(await amiOf(own)).to.deep.equal([NEW.id, NEW.id])
    expect(own.progress.notes).to.deep.equal([])
    const lost = fleet()
    lost.cloud.lose('i-z')
    expect(await amiOf(lost)).to.deep.equal([OLD.id, null])
    const alone = fakeDirectPlane([], [])
    alone.cloud.state_.set(idAddress('aws_iam_role', 'z'), 'z')
    expect(await amiOf(alone)).to.deep.equal([NEW.id, null])
    alone.cloud.images = []
    expect((await failureOf(amiOf(alone))).code).to.equal('AMI_NOT_FOUND')
  })

  it('finds an instance that has only a machine in its second slot', async () => {
    const plane = fakeDirectPlane(registryOf('a'), ['a'])
    plane.cloud.addUnmanaged(hostOf('z', { slot: 'b' }))
    plane.cloud.state_.set(instanceAddress('z', 'b'), 'i-z')
    await deployFleet(RETIRE_Z, OPTIONS, plane.ports)
    expect(plane.cloud.log.at(-1)).to.equal('apply delete z/b')
    expect(ids(plane)).to.deep.equal(['a'])
  })

  it('needs no plan if only EC2 has the machine, and skips one that is shutting down', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('stray', { instanceId: 'i-stray' }))
    plane.cloud.addUnmanaged(hostOf('stray', { instanceId: 'i-going', state: 'shutting-down' }))
    const deploy = await deployFleet({ ...RETIRE_Z, target: 'stray' }, OPTIONS, plane.ports)
    expect(deploy.hosts[0]).to.include({ outcome: 'retired' })
    expect(plane.cloud.log.filter((line) => /^(?:plan|apply|terminate)/.test(line))).to.deep.equal([
      'terminate i-stray',
    ])
    expect(plane.progress.notes.join()).to.include('i-stray is not in the state').and.not.include('i-going is')
    expect(plane.store.puts.map(({ text }) => text).join()).to.include('"outcome":"deploying"')
  })

  it('destroys what a killed deploy left of it outside of the state', async () => {
    const plane = fleet()
    plane.cloud.addUnmanaged(hostOf('stray', { instanceId: 'i-stray' }))
    for (const type of ID_TYPES) plane.cloud.leftovers.add(idAddress(type, 'stray'))
    const planned = await deployFleet({ ...RETIRE_Z, target: 'stray' }, { ...OPTIONS, planOnly: true }, plane.ports)
    expect(planned.status).to.equal('planned')
    expect(ids(plane)).to.include('stray')

    const deploy = await deployFleet({ ...RETIRE_Z, target: 'stray' }, OPTIONS, plane.ports)
    expect(deploy.status).to.equal('succeeded')
    expect(ids(plane)).to.deep.equal(['a', 'b', 'z', 'y'])
    expect(
      [...plane.cloud.leftovers, ...plane.cloud.state_.keys()].filter((one) => one.includes('stray')),
    ).to.deep.equal([])
  })

  it('applies nothing if the plan contains more', async () => {
    const plane = fleet()
    plane.cloud.alsoPlanned = [
      {
        address: 'aws_iam_role.clawdinator["a"]',
        mode: 'managed',
        type: 'aws_iam_role',
        index: 'a',
        change: { actions: ['delete'] },
      },
    ]
    const error = await failureOf(deployFleet(RETIRE_Z, OPTIONS, plane.ports))
    expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
    expect(ids(plane)).to.include('z')
  })

  it('reports a failure of OpenTofu', async () => {
    const plane = fleet()
    plane.cloud.beforeApply = () => {
      throw new ClawctlError('APPLY_FAILED', 'no')
    }
    const error = await failureOf(deployFleet(RETIRE_Z, OPTIONS, plane.ports))
    expect(error.code).to.equal('APPLY_FAILED')
    const deploy = error.partial?.deploy as Deploy
    expect(deploy.hosts[0]).to.include({ outcome: 'failed', instanceId: 'i-z' })
  })
})

describe('a deploy of one host', () => {
  it('keeps the launch prefix of every other host, in a rollout until its own deploy', async () => {
    const plane = fleet()
    await deployFleet({ target: 'all', requestId: REQUEST_ID }, OPTIONS, plane.ports)
    expect(plane.cloud.planned.map(({ ami, kept }) => [ami, Object.keys(kept).sort()])).to.deep.equal([
      [NEW.id, ['b', 'y', 'z']],
      [OLD.id, ['a', 'b', 'y', 'z']],
      [NEW.id, ['a', 'y', 'z']],
      [OLD.id, ['a', 'b', 'y', 'z']],
    ])
  })
})
