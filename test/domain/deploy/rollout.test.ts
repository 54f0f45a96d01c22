import { expect } from 'chai'
import fc from 'fast-check'
import { planRollout } from '../../../src/lib/domain/deploy/rollout.js'
import { hostOf, OLD, registryOf } from '../../support/fakes.js'

const IDS = ['a', 'b', 'c', 'd']
const plan = (existing: readonly string[], ids: readonly string[] = IDS) =>
  planRollout({ ids, registry: registryOf(...IDS), hosts: existing.map((id) => hostOf(id)) })

describe('planRollout', () => {
  const table: [why: string, existing: string[], order: string][] = [
    ["keeps the registry's order", IDS, 'a b c d'],
    ['puts hosts that do not exist yet first', ['a', 'c'], 'b d a c'],
  ]
  for (const [why, existing, order] of table) {
    it(`${why}: ${order}`, () => {
      const ids = plan(existing).map((step) => step.id)
      expect(ids.join(' ')).to.equal(order)
    })
  }

  it('includes the previous AMI of an existing host', () => {
    expect(plan(['a'], ['a'])).to.deep.equal([
      { id: 'a', action: 'replace', previousAmi: OLD.id, previousInstanceId: 'i-a' },
    ])
  })

  it('creates a host that does not exist, or is shutting down', () => {
    const created = { id: 'a', action: 'create', previousAmi: null, previousInstanceId: null }
    const going = hostOf('a', { state: 'shutting-down' })
    expect(plan([], ['a'])).to.deep.equal([created])
    expect(planRollout({ ids: ['a'], registry: registryOf('a'), hosts: [going] })).to.deep.equal([created])
  })

  it('replaces a stopped host', () => {
    const hosts = [hostOf('a', { state: 'stopped' })]
    expect(planRollout({ ids: ['a'], registry: registryOf('a'), hosts })[0]?.action).to.equal('replace')
  })

  it('deploys exactly the named hosts once each', () => {
    const some = fc.subarray(IDS)
    fc.assert(
      fc.property(some, some, (ids, existing) => {
        const steps = plan(existing, ids)
        expect(steps.map((step) => step.id).sort()).to.deep.equal(ids)
        for (const step of steps) {
          expect(step.action).to.equal(existing.includes(step.id) ? 'replace' : 'create')
        }
      }),
    )
  })
})
