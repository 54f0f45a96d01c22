import { expect } from 'chai'
import {
  type Change,
  ID_TYPES,
  idAddress,
  instanceAddress,
  machinesInState,
  parseInstanceAddress,
  planInputs,
} from '../../../src/lib/domain/deploy/slots.js'

const machine = (address: string, id: string, prefix?: string) => ({
  address,
  id,
  ...(prefix ? { tags: { 'clawdinator:bootstrap-prefix': prefix } } : {}),
})

describe('parseInstanceAddress', () => {
  it('parses the addresses that instanceAddress writes', () => {
    for (const slot of ['a', 'b'] as const) {
      expect(parseInstanceAddress(instanceAddress('clawdinator-1', slot))).to.deep.equal({ id: 'clawdinator-1', slot })
    }
  })

  for (const address of [
    `module.m.${instanceAddress('a')}`,
    `${instanceAddress('a')}.more`,
    'aws_instance.clawdinator["a/c"]',
    'aws_instance.clawdinator[0]',
    'aws_instance.other["a"]',
    idAddress('aws_iam_role', 'a'),
  ]) {
    it(`does not parse ${address} as a machine's address`, () => expect(parseInstanceAddress(address)).to.equal(null))
  }
})

describe('machinesInState', () => {
  it('returns the machines by id, with their prefixes, and ids that have only a role', () => {
    const state = machinesInState([
      machine(instanceAddress('a', 'b'), 'i-1', 'bootstrap/a'),
      machine(instanceAddress('a'), 'i-2'),
      ...ID_TYPES.map((type) => ({ address: idAddress(type, 'z'), id: 'z' })),
      { address: 'aws_security_group.clawdinator', id: 'sg-1' },
      { address: `module.m.${idAddress('aws_iam_role', 'x')}`, id: 'x' },
    ])
    expect([...state]).to.deep.equal([
      [
        'a',
        [
          { slot: 'b', instanceId: 'i-1', prefix: 'bootstrap/a' },
          { slot: 'a', instanceId: 'i-2', prefix: null },
        ],
      ],
      ['z', []],
    ])
  })
})

describe('planInputs', () => {
  /** b is in its second slot; a has a machine that may no longer exist in EC2, and its candidate. */
  const state = machinesInState([
    machine(instanceAddress('b', 'b'), 'i-b', 'bootstrap/b'),
    machine(instanceAddress('a'), 'i-a', 'bootstrap/a'),
    machine(instanceAddress('a', 'b'), 'i-a2', 'bootstrap/a2'),
  ])
  const inputs = (change: Change, gone: string[] = []) => planInputs(state, new Set(gone), change)
  const kept = { a: 'bootstrap/a', b: 'bootstrap/b' }

  it('lists the machines of the state, sorted, if no machine changes', () => {
    const slots = { a: ['a', 'b'], b: ['b'] }
    expect(inputs({ kind: 'none' })).to.deep.equal({ instances: ['a', 'b'], slots, kept })
  })

  it('adds one machine, of a new id or in the free slot', () => {
    expect(inputs({ kind: 'create', id: 'c', slot: 'a' })).to.deep.equal({
      instances: ['a', 'b', 'c'],
      slots: { a: ['a', 'b'], b: ['b'], c: ['a'] },
      kept,
    })
    expect(inputs({ kind: 'create', id: 'b', slot: 'a' })).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['a', 'b'], b: ['a', 'b'] },
      kept: { a: 'bootstrap/a' },
    })
  })

  it('removes one machine, and keeps the prefix of the remaining one', () => {
    const destroyed = inputs({ kind: 'destroy', id: 'a', slot: 'a' })
    expect(destroyed).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['b'], b: ['b'] },
      kept: { a: 'bootstrap/a2', b: 'bootstrap/b' },
    })
    expect(inputs({ kind: 'destroy', id: 'b', slot: 'b' })).to.deep.include({ slots: { a: ['a', 'b'], b: [] }, kept })
  })

  it('lists a replaced machine once, with the prefix of the registry', () => {
    expect(inputs({ kind: 'replace', id: 'b', slot: 'b' })).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['a', 'b'], b: ['b'] },
      kept: { a: 'bootstrap/a' },
    })
  })

  it('lists no machine of a retired id', () => {
    expect(inputs({ kind: 'retire', id: 'a' })).to.deep.equal({
      instances: ['b'],
      slots: { b: ['b'] },
      kept: { b: 'bootstrap/b' },
    })
  })

  it('leaves out a machine that no longer exists, and keeps the prefix of its role', () => {
    expect(inputs({ kind: 'none' }, ['i-a', 'i-b'])).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['b'], b: [] },
      kept: { a: 'bootstrap/a2', b: 'bootstrap/b' },
    })
  })
})
