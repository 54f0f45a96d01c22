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

/** a and b are in the registry, z is not; each runs the new image, b none. */
const fleet = describeFleet({
  registry: registryOf('a', 'b'),
  hosts: [hostOf('a', { ami: NEW.id }), hostOf('z', { ami: NEW.id })],
  images: [],
  heartbeats: new Map(),
  now: new Date(START),
})
const amis = (target: string, ...deploys: Deploy[]) => Object.fromEntries(rollbackAmis(fleet, deploys, target))

describe('the AMI to go back to', () => {
  const replaced = deploy(host('a', 'replaced', NEW.id, OLD.id))

  it('is looked for, for the instances of the registry that the target names', () => {
    expect(amis('all', replaced)).to.deep.equal({ a: OLD.id, b: null })
    expect(amis('a', replaced)).to.deep.equal({ a: OLD.id })
    expect(amis('z', replaced)).to.deep.equal({})
  })

  const table: [why: string, deploys: Deploy[], ami: string | null][] = [
    ['none without a record', [], null],
    ['none where the records are of others', [deploy(host('b', 'replaced', OTHER, OLD.id))], null],
    ['what ran before the newest deploy', [replaced, deploy(host('a', 'replaced', OLD.id, OTHER))], OLD.id],
    [
      'one further back where the newest names the AMI that runs alone',
      [deploy(host('a', 'replaced', NEW.id, NEW.id)), deploy(host('a', 'replaced', OLD.id, OTHER))],
      OLD.id,
    ],
    ['never one that failed', [deploy(host('a', 'failed', OTHER, OLD.id))], OLD.id],
    ['none where only one that failed is known', [deploy(host('a', 'failed', OTHER, null))], null],
    [
      'never one that failed the last time that it was tried, whatever was not tried since',
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
    ['what it was created with', [deploy(host('a', 'created', OLD.id, null))], OLD.id],
    ['what it kept', [deploy(host('a', 'kept', OLD.id, OTHER))], OLD.id],
    ['what it was rolled back to', [deploy(host('a', 'rolled-back', OLD.id, OTHER))], OLD.id],
  ]
  for (const [why, deploys, ami] of table) {
    it(`is ${why}`, () => expect(amis('a', ...deploys)).to.deep.equal({ a: ami }))
  }
})
