import { expect } from 'chai'
import fc from 'fast-check'
import {
  CONFIG_REVISIONS,
  deployRecordSchema,
  IDENTITIES,
  ORDER_INPUTS,
  type Order,
  orderSchema,
  REQUEST_ID_PATTERN,
  REQUESTED_BY_PATTERN,
  STRATEGIES,
} from '../../../src/lib/domain/contract/index.js'
import {
  formatRunTitle,
  inputsOf,
  orderOf,
  orderOfFlags,
  parseRunTitle,
  storeOrder,
} from '../../../src/lib/domain/contract/order.js'
import { recordOf } from '../../support/fakes.js'

const id = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
const odd = fc.constantFrom(
  ' by Eve',
  '[request-9999]',
  'via clawdinator-9 by Eve',
  'O\'Neil "$(x)" {{ x }} %0A',
  '姓名 🦀',
  ']',
)
const name = fc
  .oneof(odd, fc.string(), fc.string({ unit: 'grapheme' }))
  .filter((text) => REQUESTED_BY_PATTERN.test(text) && text.trim() === text && text !== '')

/** Every field, in every combination of given and absent. */
const fields: { [Field in keyof Required<Order>]: fc.Arbitrary<NonNullable<Order[Field]>> } = {
  target: id,
  requestId: fc.stringMatching(REQUEST_ID_PATTERN),
  amiOverride: fc.stringMatching(/^ami-[0-9a-f]{17}$/),
  caller: id,
  requestedBy: name,
  retire: fc.constant(true),
  strategy: fc.constantFrom(...STRATEGIES),
  configRevision: fc.constantFrom(...CONFIG_REVISIONS),
  identity: fc.constantFrom(...IDENTITIES),
}
const orders: fc.Arbitrary<Order> = fc.record(fields, { requiredKeys: ['target', 'requestId'], noNullPrototype: true })
const holds = (check: (order: Order) => void) => fc.assert(fc.property(orders, check))

describe('an order', () => {
  it("converts to a run's title and back, for every name of a person", () =>
    holds((order) => void expect(parseRunTitle(formatRunTitle(order))).to.deep.equal(order)))

  it("converts to a deploy's record and back", () =>
    holds((order) => {
      const text = JSON.stringify({ ...recordOf(), ...storeOrder(order) })
      expect(orderOf(deployRecordSchema.parse(JSON.parse(text)))).to.deep.equal(order)
    }))

  it("converts to the Control API's request and back", () =>
    holds(({ identity: _, ...order }) => {
      fc.pre(/[^0-9]/.test(order.requestId))
      expect(orderSchema.parse(JSON.parse(JSON.stringify(order)))).to.deep.equal(order)
    }))

  it('refuses an identity in a request, and a number as its request id', () => {
    const order = { target: 'a', requestId: 'request-0001' }
    expect(orderSchema.safeParse(order).success).to.equal(true)
    expect(orderSchema.safeParse({ ...order, identity: 'person verified' }).success).to.equal(false)
    expect(orderSchema.safeParse({ ...order, requestId: '20000000001' }).success).to.equal(false)
  })

  it("converts to the dispatch's inputs, the workflow's variables and the command's options", () =>
    holds((order) => {
      const inputs = inputsOf(order)
      const variable = (field: keyof typeof ORDER_INPUTS) => inputs[ORDER_INPUTS[field].input] ?? ''
      const flags = {
        ami: variable('amiOverride'),
        'requested-by': variable('requestedBy'),
        'request-id': variable('requestId'),
        retire: variable('retire') === 'true',
        strategy: (variable('strategy') || undefined) as Order['strategy'],
        'config-revision': (variable('configRevision') || undefined) as Order['configRevision'],
      }
      const identity = (variable('identity') || undefined) as Order['identity']
      const around = { caller: variable('caller') || null, identity, requestId: 'request-of-no-use' }
      expect(orderOfFlags(variable('target'), flags, around)).to.deep.equal(order)
    }))

  it('keeps the fields of older records, and adds none that were not given', () => {
    const bare = { target: 'all', requestId: 'request-0001' }
    expect(storeOrder(bare)).to.deep.equal({ ...bare, amiOverride: null, caller: null, requestedBy: null })
    expect(inputsOf({ ...bare, amiOverride: '', requestedBy: '' })).to.deep.equal({
      target: 'all',
      request_id: 'request-0001',
    })
  })

  it('has the form of title that GitHub shows', () => {
    const title = { target: 'all', requestId: 'r-1', amiOverride: 'ami-1', caller: 'c-1', requestedBy: 'Ada L' }
    expect(formatRunTitle(title)).to.equal('fleet deploy all on ami-1 [r-1] via c-1 by Ada L')
    expect(formatRunTitle({ ...title, strategy: 'replace' })).to.equal(
      'fleet deploy all on ami-1 using replace [r-1] via c-1 by Ada L',
    )
    expect(formatRunTitle({ ...title, identity: 'host verified, person claimed' })).to.equal(
      'fleet deploy all on ami-1 [r-1] (host verified, person claimed) via c-1 by Ada L',
    )
    expect(formatRunTitle({ target: 'a', requestId: 'r-1', identity: 'unknown, shared token' })).to.equal(
      'fleet deploy a [r-1] (unknown, shared token)',
    )
    expect(formatRunTitle({ target: 'all', requestId: 'r-1' })).to.equal('fleet deploy all [r-1]')
  })

  for (const text of [
    '',
    'fleet-deploy',
    'fleet deploy all',
    'Update README',
    'fleet deploy a b [r]',
    'x fleet deploy a [r]',
    'fleet deploy a using force [r]',
  ]) {
    it(`is not parsed from the title ${JSON.stringify(text)}`, () => expect(parseRunTitle(text)).to.equal(null))
  }
})
