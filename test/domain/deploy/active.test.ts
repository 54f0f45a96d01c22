import { expect } from 'chai'
import { formatActive, NO_MACHINE, parseActive, standingOf } from '../../../src/lib/domain/deploy/active.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { hostOf, START } from '../../support/fakes.js'

const host = (instanceId: string, change: Partial<Host> = {}) => hostOf('a', { instanceId, ...change })
const old = host('i-1', { launchedAt: '2026-02-01T00:00:00.000Z' })
const young = host('i-2', { launchedAt: '2026-02-02T00:00:00.000Z' })
const active = (instanceId: string, from: string | null = null) => ({
  schema: 1 as const,
  id: 'a',
  instanceId,
  from,
  at: START,
})
const ids = (standing: ReturnType<typeof standingOf>) => ({
  holder: standing.holder?.instanceId ?? null,
  predecessor: standing.predecessor?.instanceId ?? null,
  leftovers: standing.leftovers.map(({ instanceId }) => instanceId),
  suspended: standing.suspended,
})

describe('whether the holder is stopped', () => {
  const table: [Host['state'], isStopped: boolean][] = [
    ['pending', false],
    ['running', false],
    ['stopping', true],
    ['stopped', true],
  ]
  for (const [state, isStopped] of table) {
    it(`${state}: ${isStopped ? 'it is' : 'it is not'}, except during a handover`, () => {
      const hosts = [host('i-1', { state })]
      expect(standingOf(hosts, active('i-1')).stopped).to.equal(isStopped)
      expect(standingOf(hosts, active(NO_MACHINE, 'i-1'))).to.include({ suspended: true, stopped: false })
    })
  }

  it('is false if no machine is active', () => {
    expect(standingOf([], null).stopped).to.equal(false)
  })
})

describe('standingOf', () => {
  const none = { holder: null, predecessor: null, leftovers: [], suspended: false }
  type Row = [
    why: string,
    hosts: Host[],
    active: ReturnType<typeof active> | null,
    expected: Partial<typeof none> | object,
  ]
  const table: Row[] = [
    ['nothing', [], null, {}],
    ['one machine that was never named', [old], null, { holder: 'i-1' }],
    ['the older of two machines that were never named', [young, old], null, { holder: 'i-1', leftovers: ['i-2'] }],
    [
      'of two machines of the same second the one with the lower id',
      [host('i-2'), host('i-1')],
      null,
      { holder: 'i-1', leftovers: ['i-2'] },
    ],
    [
      'the running one of two unnamed machines, although it is younger',
      [young, host('i-1', { state: 'stopped' })],
      null,
      { holder: 'i-2', leftovers: ['i-1'] },
    ],
    ['a stopped machine that is the only one', [host('i-1', { state: 'stopped' })], null, { holder: 'i-1' }],
    ['no machine that is shutting down', [host('i-1', { state: 'shutting-down' })], active('i-1'), {}],
    ['the named machine, and a candidate', [old, young], active('i-1'), { holder: 'i-1', leftovers: ['i-2'] }],
    [
      'the named machine, and the old machine',
      [old, young],
      active('i-2', 'i-1'),
      { holder: 'i-2', predecessor: 'i-1' },
    ],
    ['the named machine, which got the role from itself', [old], active('i-1', 'i-1'), { holder: 'i-1' }],
    [
      'no active machine during a handover',
      [old, young],
      active(NO_MACHINE, 'i-1'),
      { holder: 'i-1', leftovers: ['i-2'], suspended: true },
    ],
    ['the old machine if the named one is lost', [old], active('i-2', 'i-1'), { holder: 'i-1', suspended: true }],
    ['no machine for a new host', [young], active(NO_MACHINE), { leftovers: ['i-2'] }],
    ['a candidate if the named machine is lost', [young], active('i-1'), { leftovers: ['i-2'] }],
  ]
  for (const [why, hosts, object, expected] of table) {
    it(`finds ${why}`, () => expect(ids(standingOf(hosts, object))).to.deep.equal({ ...none, ...expected }))
  }
})

describe('the object that names the active machine', () => {
  it('is read as it was written, and any other text is invalid', () => {
    const { schema: _, ...written } = active('i-1', 'i-2')
    expect(parseActive(formatActive(written))).to.deep.equal(active('i-1', 'i-2'))
    for (const text of ['', '{', 'null', '{}', '{"schema":2,"id":"a","instanceId":"i-1","at":"x"}']) {
      expect(parseActive(text), text).to.equal(null)
    }
  })

  it('uses a constant in the form of an EC2 id for no machine, as hosts require', () =>
    expect(NO_MACHINE).to.match(/^i-[0-9a-f]{17}$/))
})
