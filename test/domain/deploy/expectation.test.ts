import { expect } from 'chai'
import { expectPlan, NO_ADOPTION, SECURITY_GROUP } from '../../../src/lib/domain/deploy/expectation.js'
import { type Change, ID_TYPES, idAddress, instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { CREATE, created, plan, refusal, STATE } from '../../support/plans.js'

const expected = (change: Change, more: Partial<Parameters<typeof expectPlan>[0]> = {}) =>
  expectPlan({ change, scope: ['a'], state: STATE, gone: new Set(), adopt: NO_ADOPTION, prefixes: {}, ...more })

describe('expectPlan', () => {
  const mended = [SECURITY_GROUP, ...ID_TYPES.map((type) => idAddress(type, 'a'))].map((address) => [
    address,
    ['create', 'update'],
  ])

  it('allows the one machine of the change and the objects of ids in scope, and nothing else', () => {
    const { allowed, imports, wanted } = expected(CREATE)
    expect([...allowed]).to.deep.equal([...mended, [instanceAddress('a', 'b'), ['create']]])
    expect(wanted).to.deep.equal({ addresses: [instanceAddress('a', 'b')], actions: ['create'] })
    expect([...imports]).to.deep.equal([])
  })

  it('allows the removal of machines that no longer exist in EC2, at any address', () => {
    const { allowed } = expected({ kind: 'none' }, { gone: new Set(['i-c']) })
    expect([...allowed]).to.deep.equal([...mended, [instanceAddress('c'), ['delete']]])
  })

  it("allows access to the registry's prefix, and to the prefixes of the machines' launch", () => {
    const prefixes = (known: Record<string, string>, scope = ['a']) =>
      Object.fromEntries(expected(CREATE, { prefixes: known, scope }).prefixes)
    expect(prefixes({ a: 'bootstrap/new' })).to.deep.equal({ a: ['bootstrap/new', 'bootstrap/a'] })
    expect(prefixes({ a: 'bootstrap/a' })).to.deep.equal({ a: ['bootstrap/a'] })
    expect(prefixes({ d: 'bootstrap/d' }, ['d', 'e'])).to.deep.equal({ d: ['bootstrap/d'], e: [] })
  })

  it('returns the title of a plan that changes no machine', () => {
    expect(refusal(plan(created), { change: { kind: 'none' } }).message).to.match(
      /^The plan to change no machine would also create /,
    )
  })
})
