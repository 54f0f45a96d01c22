import { expect } from 'chai'
import type { DeployHost } from '../../../src/lib/domain/contract/index.js'
import { describeFleet } from '../../../src/lib/domain/deploy/fleet.js'
import { HISTORY_LOOKBACK } from '../../../src/lib/domain/deploy/run.js'
import { rollbackTarget } from '../../../src/lib/ops/deploy/rollbackTarget.js'
import { failureOf } from '../../support/failure.js'
import { detailOf, hostOf, NEW, OLD, registryOf, START } from '../../support/fakes.js'

const OTHER = 'ami-00000000000000003'

/** a, b and c run the new image, after what `before` names; null: no record. */
function target(id: string, before: Record<string, string | null>) {
  const fleet = async () =>
    describeFleet({
      registry: registryOf('a', 'b', 'c'),
      hosts: ['a', 'b', 'c'].map((one) => hostOf(one, { ami: NEW.id })),
      images: [],
      heartbeats: new Map(),
      now: new Date(START),
    })
  const hosts = Object.entries(before).map(
    ([one, previousAmi]): DeployHost => ({ id: one, outcome: 'replaced', ami: NEW.id, previousAmi, instanceId: null }),
  )
  const deploys = async (most?: number) => (most === HISTORY_LOOKBACK ? [detailOf({ hosts })] : [])
  return rollbackTarget(id, { fleet, deploys })
}

describe('rollbackTarget', () => {
  it('is the AMI that the instance, or each that has one, was healthy with before', async () => {
    expect(await target('a', { a: OLD.id, b: OTHER })).to.equal(OLD.id)
    expect(await target('all', { a: OLD.id, b: OLD.id, c: null })).to.equal(OLD.id)
  })

  it('is unknown of an instance that the registry lacks', async () => {
    const error = await failureOf(target('z'.repeat(70), {}))
    expect(error.code).to.equal('UNKNOWN_TARGET')
    expect(error.message).to.equal(`There is no instance "${'z'.repeat(63)}" in the registry.`)
    expect(error.hint).to.include('clawctl fleet status')
  })

  it('is none where no record has one', async () => {
    const error = await failureOf(target('a', { a: null, b: OLD.id }))
    expect([error.code, error.message]).to.deep.equal([
      'NO_ROLLBACK_TARGET',
      'No record names an AMI that a was healthy with before.',
    ])
    expect(error.hint).to.include('clawctl fleet deploy a --ami')
  })

  it('is none where the instances need several, each of which is named', async () => {
    const error = await failureOf(target('all', { a: OLD.id, b: OTHER, c: null }))
    expect(error.code).to.equal('NO_ROLLBACK_TARGET')
    expect(error.details).to.deep.equal([`a was healthy with ${OLD.id}.`, `b was healthy with ${OTHER}.`])
    expect(error.hint).to.include('one by one')
  })
})
