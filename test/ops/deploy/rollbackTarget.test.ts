import { expect } from 'chai'
import type { Deploy, DeployHost, HostEvidence } from '../../../src/lib/domain/contract/index.js'
import { describeFleet } from '../../../src/lib/domain/deploy/fleet.js'
import { HISTORY_LOOKBACK } from '../../../src/lib/domain/deploy/run.js'
import { rollbackTarget } from '../../../src/lib/ops/deploy/rollbackTarget.js'
import { failureOf } from '../../support/failure.js'
import { detailOf, FakeClock, hostOf, imageOf, NEW, OLD, registryOf } from '../../support/fakes.js'

const ami = (n: number) => `ami-0000000000000000${n}`
const entry = (id: string, outcome: DeployHost['outcome'], now: number, before: number | null): DeployHost => ({
  ...{ id, outcome, ami: ami(now), previousAmi: before === null ? null : ami(before), instanceId: `i-${id}` },
})
const evidence = (n: number): HostEvidence => ({
  ...{ instanceId: 'i-x', ami: ami(n), stages: [], failure: null, console: [] },
})
const deploy = (...hosts: DeployHost[]): Deploy => detailOf({ hosts })

/** a and b run the AMI 3; 4 is the newest, and is tagged as failed. */
const fleet = () =>
  Promise.resolve(
    describeFleet({
      registry: registryOf('a', 'b'),
      hosts: ['a', 'b'].map((id) => hostOf(id, { ami: ami(3) })),
      images: [
        imageOf({ id: ami(3), name: 'three', createdAt: '2026-02-03T00:00:00.000Z' }),
        imageOf({ id: ami(4), name: 'four', createdAt: '2026-02-04T00:00:00.000Z' }, { failedIn: 'request-0004' }),
      ],
      heartbeats: new Map(),
      now: new FakeClock().now(),
    }),
  )
const target = (id: string, ...deploys: Deploy[]) => rollbackTarget(id, { fleet, deploys: async () => deploys })

describe('the AMI of a rollback', () => {
  const table: [why: string, found: number, ...deploys: Deploy[]][] = [
    [
      'not an AMI that failed in between',
      1,
      deploy(entry('a', 'replaced', 3, 2)),
      deploy(entry('a', 'failed', 2, 1)),
      deploy(entry('a', 'replaced', 1, null)),
    ],
    [
      'not an AMI whose machine failed its gate after it was healthy',
      1,
      deploy({ ...entry('a', 'rolled-back', 3, 3), evidence: evidence(2) }),
      deploy(entry('a', 'replaced', 3, 2)),
      deploy(entry('a', 'replaced', 2, 1)),
    ],
    [
      'an AMI that failed once, and was healthy later',
      2,
      deploy(entry('a', 'replaced', 3, 2)),
      deploy(entry('a', 'replaced', 2, 1)),
      deploy(entry('a', 'failed', 2, 1)),
    ],
    [
      'not an AMI that is tagged as failed',
      1,
      deploy(entry('a', 'replaced', 3, 4)),
      deploy(entry('a', 'replaced', 4, 1)),
    ],
    ['the AMI before the first deploy', 1, deploy(entry('a', 'replaced', 3, 1))],
  ]
  for (const [why, found, ...deploys] of table) {
    it(why, async () => expect(await target('a', ...deploys)).to.equal(ami(found)))
  }

  it('is found for all only if each instance has one', async () => {
    const a = entry('a', 'replaced', 3, 1)
    expect(await target('all', deploy(a, entry('b', 'replaced', 3, 1)))).to.equal(ami(1))
    const error = await failureOf(target('all', deploy(a)))
    expect(error.code).to.equal('NO_ROLLBACK_TARGET')
    expect(error.message).to.equal('No record names an AMI that b was healthy with before.')
    expect(error.details).to.deep.equal([`a was healthy with ${ami(1)}.`])
  })
})

const OTHER = 'ami-00000000000000003'

/** a, b and c run the new image, after what `before` names; null: no record. */
function targetBefore(id: string, before: Record<string, string | null>) {
  const fleet = async () =>
    describeFleet({
      registry: registryOf('a', 'b', 'c'),
      hosts: ['a', 'b', 'c'].map((one) => hostOf(one, { ami: NEW.id })),
      images: [],
      heartbeats: new Map(),
      now: new FakeClock().now(),
    })
  const hosts = Object.entries(before).map(
    ([one, previousAmi]): DeployHost => ({ id: one, outcome: 'replaced', ami: NEW.id, previousAmi, instanceId: null }),
  )
  const deploys = async (most?: number) => (most === HISTORY_LOOKBACK ? [detailOf({ hosts })] : [])
  return rollbackTarget(id, { fleet, deploys })
}

describe('the rollback target', () => {
  it('is the AMI with which the instance, or each that has one, was healthy before', async () => {
    expect(await targetBefore('a', { a: OLD.id, b: OTHER })).to.equal(OLD.id)
    expect(await targetBefore('all', { a: OLD.id, b: OLD.id, c: OLD.id })).to.equal(OLD.id)
  })

  it('is unknown for an instance that the registry lacks', async () => {
    const error = await failureOf(targetBefore('z'.repeat(70), {}))
    expect(error.code).to.equal('UNKNOWN_TARGET')
    expect(error.message).to.equal(`There is no instance "${'z'.repeat(63)}" in the registry.`)
    expect(error.hint).to.include('clawctl fleet status')
  })

  it('does not exist if no record has one', async () => {
    const error = await failureOf(targetBefore('a', { a: null, b: OLD.id }))
    expect([error.code, error.message]).to.deep.equal([
      'NO_ROLLBACK_TARGET',
      'No record names an AMI that a was healthy with before.',
    ])
    expect(error.hint).to.include('clawctl fleet deploy a --ami')
  })

  for (const [why, c, message] of [
    ['and where one has no record', null, 'No record names an AMI that c was healthy with before.'],
    ['alone', OLD.id, 'The instances were healthy with different AMIs before.'],
  ] as const) {
    it(`does not exist if the instances need several ${why}, each of which is named`, async () => {
      const error = await failureOf(targetBefore('all', { a: OLD.id, b: OTHER, c }))
      expect([error.code, error.message]).to.deep.equal(['NO_ROLLBACK_TARGET', message])
      const of = (id: string, ami: string) => `${id} was healthy with ${ami}.`
      expect(error.details).to.deep.equal([of('a', OLD.id), of('b', OTHER), ...(c ? [of('c', c)] : [])])
      expect(error.hint).to.include('one by one')
    })
  }
})
