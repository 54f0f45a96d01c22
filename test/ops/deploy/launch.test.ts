import { expect } from 'chai'
import type { FleetImage } from '../../../src/lib/domain/deploy/image.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { launchOf } from '../../../src/lib/ops/deploy/applyChange.js'
import { checkLaunch } from '../../../src/lib/ops/deploy/checkLaunch.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import type { HostContext } from '../../../src/lib/ops/deploy/hostContext.js'
import type { LaunchParameters } from '../../../src/lib/ops/deploy/ports.js'
import { chooseImages } from '../../../src/lib/ops/deploy/resolveImage.js'
import { failureOf } from '../../support/failure.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { entryOf, imageOf, NEW, OLD, REQUEST_ID, registryOf, upstream } from '../../support/fakes.js'
import { change, instance, plan } from '../../support/plans.js'

const AT = instanceAddress('a', 'b')
const MACHINE = {
  ...{ ami: NEW.id, instance_type: 't3.large', subnet_id: 'subnet-1', iam_instance_profile: 'a' },
  ...{ user_data: '#!/bin/sh', tags: { app: 'x' }, vpc_security_group_ids: ['sg-1'] },
  root_block_device: [{ volume_size: 60 }],
}
const launching = (after: object, ...more: object[]) => plan(instance('a/b', ['create'], { after }), ...more)

describe('the planned launch', () => {
  const of = (json: unknown) => launchOf(json, AT, imageOf(NEW))

  it('is read from the planned machine', () => {
    expect(of(launching(MACHINE))).to.deep.equal({
      ami: NEW.id,
      instanceType: 't3.large',
      subnetId: 'subnet-1',
      securityGroupIds: ['sg-1'],
      profile: 'a',
      userData: '#!/bin/sh',
      rootGib: 60,
      rootDevice: '/dev/xvda',
      tags: { app: 'x' },
    })
  })

  it('has no profile yet if the plan creates the profile, but only then', () => {
    const made = (type: string, action: string) => of(launching(MACHINE, change(type, 'a', [action])))?.profile
    expect(made('aws_iam_instance_profile', 'create')).to.equal(null)
    expect(made('aws_iam_instance_profile', 'update')).to.equal('a')
    expect(made('aws_iam_role', 'create')).to.equal('a')
  })

  it('contains the values that the plan knows', () => {
    const { ami, instance_type } = MACHINE
    const unknown = { profile: null, userData: null, rootGib: null, subnetId: null, securityGroupIds: [], tags: {} }
    for (const more of [
      {},
      { root_block_device: [], tags: 3 },
      { root_block_device: [{}], vpc_security_group_ids: null },
    ])
      expect(of(launching({ ami, instance_type, ...more }))).to.deep.include(unknown)
  })

  it('is null if the plan has no machine at that address', () => {
    for (const json of [undefined, {}, plan(), plan(instance('b', ['create'], { after: MACHINE })), launching({})])
      expect(of(json)).to.equal(null)
  })
})

describe('the check of a launch', () => {
  function check(
    after: object,
    image: Partial<FleetImage> = {},
    refusal: { denied: boolean; reason: string } | null = null,
  ) {
    const asked: LaunchParameters[] = []
    const dryRun = async (launch: LaunchParameters) => {
      asked.push(launch)
      return refusal
    }
    const work = {
      turn: { id: 'a', image: imageOf(NEW, image) },
      ports: { machines: { dryRun } },
    } as unknown as HostContext
    return { asked, done: checkLaunch(work, launching(after), 'b') }
  }

  it('passes EC2 a launch whose image fits or has an unknown size, and no launch without a machine', async () => {
    const fits = [check(MACHINE, { rootGib: 60 }), check(MACHINE, { rootGib: null })]
    const unknown = check({ ...MACHINE, root_block_device: null })
    for (const { asked, done } of [...fits, unknown]) {
      await done
      expect(asked).to.have.length(1)
    }
    const none = check({})
    await none.done
    expect(none.asked).to.deep.equal([])
  })

  it('refuses a root volume that is smaller than the image, without a request', async () => {
    const { asked, done } = check(MACHINE, { rootGib: 61 })
    const error = await failureOf(done)
    expect(error.code).to.equal('AMI_REFUSED')
    expect(error.message).to.include('needs a root volume of 61 GiB; hosts get 60 GiB')
    expect(error.hint).to.include('ROOT_VOLUME_GIB to 61')
    expect(asked).to.deep.equal([])
  })

  it('names the service that refused', async () => {
    const denied = await failureOf(check(MACHINE, {}, { denied: true, reason: 'No.' }).done)
    expect([denied.code, denied.hint]).to.deep.equal([
      'DENIED',
      'Check the deploy role in the platform stack. Nothing was changed.',
    ])
    const refused = await failureOf(check(MACHINE, {}, { denied: false, reason: 'No.' }).done)
    expect(refused.code).to.equal('LAUNCH_REFUSED')
    expect(refused.hint).to.match(/^Correct what EC2 names, .* Nothing was changed\.$/)
  })
})

describe('the image of an instance', () => {
  const arm = imageOf(NEW, { architecture: 'arm64' })
  const entries = [entryOf('a'), entryOf('b', { instanceType: 't4g.large' })]

  it('is the newest one of its own architecture', async () => {
    const compute = { fleetImages: async () => [imageOf(OLD), arm], findImage: async () => null }
    const images = await chooseImages(compute, entries, null)
    expect([...images].map(([id, image]) => [id, image.id])).to.deep.equal([
      ['a', OLD.id],
      ['b', NEW.id],
    ])
  })

  it('is the named one, without a list of all', async () => {
    const compute = { fleetImages: () => Promise.reject(upstream()), findImage: async () => imageOf(OLD) }
    expect((await chooseImages(compute, [entryOf('a')], OLD.id)).get('a')?.id).to.equal(OLD.id)
  })
})

describe('the plan of a deploy', () => {
  const deploy = (plane: ReturnType<typeof fakeDirectPlane>, target = 'a') =>
    deployFleet({ target, requestId: REQUEST_ID }, deployOptions(), plane.ports)

  it('has the ids of the state and of its own host, and a file of that name', async () => {
    const plane = fakeDirectPlane(registryOf('a', 'b'), [])
    await deploy(plane, 'all')
    expect(plane.cloud.planned.map(({ instances, file }) => [instances, file])).to.deep.equal([
      [['a'], '/plans/a-1'],
      [['a', 'b'], '/plans/b-2'],
    ])
  })

  it('corrects the role of its own host, and does not change the others', async () => {
    const plane = fakeDirectPlane(registryOf('a', 'b'), ['a', 'b'])
    plane.cloud.alsoPlanned = [change('aws_iam_role', 'a', ['update'])]
    expect((await deploy(plane)).status).to.equal('succeeded')
    plane.cloud.alsoPlanned = [change('aws_iam_role', 'b', ['update'])]
    expect((await failureOf(deploy(plane))).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  it("gives a role access only to the registry's prefix", async () => {
    // The plans of these tests read bootstrap/a.
    const plane = fakeDirectPlane([entryOf('a', { bootstrapPrefix: 'bundles/a' })], [])
    expect((await failureOf(deploy(plane))).message).to.include('widen a role policy')
  })
})
