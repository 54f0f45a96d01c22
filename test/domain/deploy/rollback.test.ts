import { expect } from 'chai'
import type { Deploy, DeployHost } from '../../../src/lib/domain/contract/index.js'
import { describeFleet } from '../../../src/lib/domain/deploy/fleet.js'
import { rollbackAmis } from '../../../src/lib/domain/deploy/rollback.js'
import { detailOf, hostOf, NEW, OLD, registryOf, START } from '../../support/fakes.js'

const OTHER = 'ami-00000000000000003'
const host = (
  id: string,
  outcome: DeployHost['outcome'],
  ami: string | null,
  previousAmi: string | null,
): DeployHost => ({
  ...{ id, outcome, ami, previousAmi, instanceId: null, reason: null },
})
const deploy = (...hosts: DeployHost[]): Deploy => detailOf({ hosts })

/** a and b are in the registry, z is not. a and z run the new image; b has no machine. */
const fleet = describeFleet({
  registry: registryOf('a', 'b'),
  hosts: [hostOf('a', { ami: NEW.id }), hostOf('z', { ami: NEW.id })],
  images: [],
  heartbeats: new Map(),
  now: new Date(START),
})
const amis = (target: string, ...deploys: Deploy[]) => Object.fromEntries(rollbackAmis(fleet, deploys, target))

describe('the rollback target', () => {
  const replaced = deploy(host('a', 'replaced', NEW.id, OLD.id))

  it("is searched for the registry's instances that the target names", () => {
    expect(amis('all', replaced)).to.deep.equal({ a: OLD.id, b: null })
    expect(amis('a', replaced)).to.deep.equal({ a: OLD.id })
    expect(amis('z', replaced)).to.deep.equal({})
  })

  const table: [why: string, deploys: Deploy[], ami: string | null][] = [
    ['none without a record', [], null],
    ['none if the records are of other hosts', [deploy(host('b', 'replaced', OTHER, OLD.id))], null],
    ['the AMI before the newest deploy', [replaced, deploy(host('a', 'replaced', OLD.id, OTHER))], OLD.id],
    [
      'an older one if the newest record names only the current AMI',
      [deploy(host('a', 'replaced', NEW.id, NEW.id)), deploy(host('a', 'replaced', OLD.id, OTHER))],
      OLD.id,
    ],
    ['never a failed AMI', [deploy(host('a', 'failed', OTHER, OLD.id))], OLD.id],
    ['none if only a failed AMI is known', [deploy(host('a', 'failed', OTHER, null))], null],
    [
      'never an AMI that failed in its last deploy, whatever was deployed since',
      [
        deploy(host('a', 'skipped', OTHER, null)),
        deploy(host('a', 'failed', OTHER, null)),
        deploy(host('a', 'replaced', OTHER, OLD.id)),
      ],
      OLD.id,
    ],
    [
      'also one that a later deploy was skipped with, which is no verdict',
      [deploy(host('a', 'skipped', OTHER, null)), deploy(host('a', 'replaced', NEW.id, OTHER))],
      OTHER,
    ],
    ["the AMI of the host's creation", [deploy(host('a', 'created', OLD.id, null))], OLD.id],
    ['the AMI that a failed deploy kept', [deploy(host('a', 'kept', OLD.id, OTHER))], OLD.id],
    ['the AMI of a rollback', [deploy(host('a', 'rolled-back', OLD.id, OTHER))], OLD.id],
  ]
  for (const [why, deploys, ami] of table) {
    it(`is ${why}`, () => expect(amis('a', ...deploys)).to.deep.equal({ a: ami }))
  }
})
