import { expect } from 'chai'
import { bundleProblems, heartbeatKey, markerKey } from '../../src/lib/domain/bundle.js'
import { parseJson } from '../../src/lib/domain/json.js'
import { entryOf, markerOf } from '../support/fakes.js'

const entry = entryOf('a')
const objects = [
  { key: 'secrets/discord.age', size: 10, sha256: 'x' },
  { key: 'repos/clawdinators.tar', size: 20, sha256: 'y' },
]
const marker = markerOf(entry, objects)
const stored = objects.map(({ key, size }) => ({ key: `bootstrap/a/${key}`, size }))
const problems = (value: unknown, found = stored) =>
  bundleProblems(entry, typeof value === 'string' || value === null ? value : JSON.stringify(value), found)

describe('bundleProblems', () => {
  it('finds none in a whole bundle, whatever else lies beside it', () => {
    expect(problems(marker, [...stored, { key: 'bootstrap/a/old.age', size: 1 }])).to.deep.equal([])
  })

  type Row = [why: string, marker: unknown, found: typeof stored, expected: string[]]
  const table: Row[] = [
    ['no marker', null, stored, ['there is no bootstrap/a/config.json']],
    ['broken JSON', '{', stored, ["bootstrap/a/config.json is not a bundle's marker"]],
    ['an empty marker', '', stored, ["bootstrap/a/config.json is not a bundle's marker"]],
    ['another schema', { ...marker, schema: 2 }, stored, ["bootstrap/a/config.json is not a bundle's marker"]],
    ["another's marker", markerOf(entryOf('b'), objects), stored, ['bootstrap/a/config.json belongs to "b"']],
    ['one object gone', marker, stored.slice(1), ['secrets/discord.age is missing']],
    ['all objects gone', marker, [], ['secrets/discord.age is missing', 'repos/clawdinators.tar is missing']],
    [
      "an object in another's prefix",
      marker,
      stored.map((o) => ({ ...o, key: o.key.replace('/a/', '/b/') })),
      ['secrets/discord.age is missing', 'repos/clawdinators.tar is missing'],
    ],
    [
      'another size',
      marker,
      stored.map((o) => ({ ...o, size: 10 })),
      ['repos/clawdinators.tar has 10 bytes instead of 20'],
    ],
    [
      'larger objects',
      marker,
      stored.map((o) => ({ ...o, size: 30 })),
      ['secrets/discord.age has 30 bytes instead of 10', 'repos/clawdinators.tar has 30 bytes instead of 20'],
    ],
    [
      'an empty object',
      marker,
      stored.map((o) => ({ ...o, size: o.size === 10 ? 0 : o.size })),
      ['secrets/discord.age has 0 bytes instead of 10'],
    ],
  ]
  for (const [why, value, found, expected] of table) {
    it(`tells of ${why}`, () => expect(problems(value, found)).to.deep.equal(expected))
  }
})

describe('keys and JSON', () => {
  it('are those that the hosts read and write', () => {
    expect(markerKey(entryOf('a', { bootstrapPrefix: 'other/place' }))).to.equal('other/place/config.json')
    expect(heartbeatKey('a')).to.equal('heartbeats/a.json')
  })

  it('gives undefined for what is not JSON', () => {
    expect(parseJson('{')).to.equal(undefined)
    expect(parseJson('null')).to.equal(null)
  })
})
