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
  it('reads back what instanceAddress writes', () => {
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
    it(`takes ${address} for no machine of the fleet`, () => expect(parseInstanceAddress(address)).to.equal(null))
  }
})

describe('machinesInState', () => {
  it('gives the machines by id, with the prefix of their tags, and the ids of which only a role is left', () => {
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
  /** b is in its second slot; a has a machine that EC2 may have lost, and its successor. */
  const state = machinesInState([
    machine(instanceAddress('b', 'b'), 'i-b', 'bootstrap/b'),
    machine(instanceAddress('a'), 'i-a', 'bootstrap/a'),
    machine(instanceAddress('a', 'b'), 'i-a2', 'bootstrap/a2'),
  ])
  const inputs = (change: Change, gone: string[] = []) => planInputs(state, new Set(gone), change)
  const kept = { a: 'bootstrap/a', b: 'bootstrap/b' }

  it('has what the state has, sorted, for a change of no machine', () => {
    const slots = { a: ['a', 'b'], b: ['b'] }
    expect(inputs({ kind: 'none' })).to.deep.equal({ instances: ['a', 'b'], slots, kept })
  })

  it('has one machine more, which is new to the state or in the free slot', () => {
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

  it('has one machine less, and the prefix of the one that stays', () => {
    const destroyed = inputs({ kind: 'destroy', id: 'a', slot: 'a' })
    expect(destroyed).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['b'], b: ['b'] },
      kept: { a: 'bootstrap/a2', b: 'bootstrap/b' },
    })
    expect(inputs({ kind: 'destroy', id: 'b', slot: 'b' })).to.deep.include({ slots: { a: ['a', 'b'], b: [] }, kept })
  })

  it('has the machine that is replaced once, and reads its prefix anew', () => {
    expect(inputs({ kind: 'replace', id: 'b', slot: 'b' })).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['a', 'b'], b: ['b'] },
      kept: { a: 'bootstrap/a' },
    })
  })

  it('has nothing of an id that is retired', () => {
    expect(inputs({ kind: 'retire', id: 'a' })).to.deep.equal({
      instances: ['b'],
      slots: { b: ['b'] },
      kept: { b: 'bootstrap/b' },
    })
  })

  it('makes no machine again that EC2 has lost, and keeps the prefix of its role', () => {
    expect(inputs({ kind: 'none' }, ['i-a', 'i-b'])).to.deep.equal({
      instances: ['a', 'b'],
      slots: { a: ['b'], b: [] },
      kept: { a: 'bootstrap/a2', b: 'bootstrap/b' },
    })
  })
})
