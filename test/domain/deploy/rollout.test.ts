import { expect } from 'chai'
import fc from 'fast-check'
import { planRollout } from '../../../src/lib/domain/deploy/rollout.js'
import { hostOf, OLD, registryOf } from '../../support/fakes.js'

const IDS = ['a', 'b', 'c', 'd']
const plan = (existing: readonly string[], caller: string | null = null, ids: readonly string[] = IDS) =>
  planRollout({ ids, registry: registryOf(...IDS), hosts: existing.map((id) => hostOf(id)), caller })

describe('planRollout', () => {
  type Row = [why: string, existing: string[], caller: string | null, order: string]
  const table: Row[] = [
    ["the registry's order", IDS, null, 'a b c d'],
    ['hosts that do not exist yet come first', ['a', 'c'], null, 'b d a c'],
    ['the one that asked comes last', IDS, 'a', 'b c d a'],
    ['last even where it does not exist', ['b', 'c'], 'a', 'd b c a'],
    ['a caller from elsewhere changes nothing', IDS, 'x', 'a b c d'],
  ]
  for (const [why, existing, caller, order] of table) {
    it(`${why}: ${order}`, () => {
      const ids = plan(existing, caller).map((step) => step.id)
      expect(ids.join(' ')).to.equal(order)
    })
  }

  it('tells the way back of a host that exists', () => {
    expect(plan(['a'], null, ['a'])).to.deep.equal([
      { id: 'a', action: 'replace', canary: false, previousAmi: OLD.id, previousInstanceId: 'i-a' },
    ])
  })

  it('creates what does not exist, or is going', () => {
    const created = { id: 'a', action: 'create', canary: false, previousAmi: null, previousInstanceId: null }
    const going = hostOf('a', { state: 'shutting-down' })
    expect(plan([], null, ['a'])).to.deep.equal([created])
    expect(planRollout({ ids: ['a'], registry: registryOf('a'), hosts: [going], caller: null })).to.deep.equal([
      created,
    ])
  })

  it('replaces a stopped host', () => {
    const hosts = [hostOf('a', { state: 'stopped' })]
    expect(planRollout({ ids: ['a'], registry: registryOf('a'), hosts, caller: null })[0]?.action).to.equal('replace')
  })

  it('deploys exactly the named hosts once each, the first of several as the canary', () => {
    const some = fc.subarray(IDS)
    fc.assert(
      fc.property(some, some, fc.option(fc.constantFrom(...IDS)), (ids, existing, caller) => {
        const steps = plan(existing, caller, ids)
        expect(steps.map((step) => step.id).sort()).to.deep.equal(ids)
        expect(steps.map((step) => step.canary)).to.deep.equal(steps.map((_, n) => n === 0 && steps.length > 1))
        for (const step of steps) {
          expect(step.action).to.equal(existing.includes(step.id) ? 'replace' : 'create')
        }
        if (caller && ids.includes(caller)) expect(steps.at(-1)?.id).to.equal(caller)
      }),
    )
  })
})
