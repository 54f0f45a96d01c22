import { expect } from 'chai'
import fc from 'fast-check'
import { HEARTBEAT_PREFIX } from '../../../src/lib/domain/bundles/manifest.js'
import { RECORD_PREFIX } from '../../../src/lib/domain/deploy/run.js'
import { IMAGE_PREFIX } from '../../../src/lib/domain/images/names.js'
import { FLEET_STATE_KEY } from '../../../src/lib/domain/paths.js'
import {
  checkRegistry,
  findEntry,
  parseRegistry,
  type RegistryEntry,
} from '../../../src/lib/domain/registry/registry.js'
import { entryOf, registryOf, registryText, thrown } from '../../support/fakes.js'

type Fields = Record<string, unknown>

/** One valid entry's settings, changed; `undefined` leaves a key out. */
const fields = (id: string, change: Fields = {}): Fields => {
  const { id: _, ...settings } = entryOf(id)
  return { ...settings, ...change }
}
const problemsOf = (text: string) => checkRegistry(text).problems
const messagesOf = (value: unknown) => problemsOf(JSON.stringify(value)).map(({ id, message }) => `${id}: ${message}`)

describe('the registry', () => {
  it("returns the entries in the file's order", () => {
    const registry = registryOf('zeta', 'alpha', 'mid')
    expect(parseRegistry(registryText(registry), 'x')).to.deep.equal(registry)
    expect(findEntry(registry, 'alpha')).to.equal(registry[1])
    expect(findEntry(registry, 'constructor')).to.equal(undefined)
  })

  it('reports a byte order mark, which JSON parsers refuse', () => {
    expect(() => parseRegistry('\uFEFF{}', 'x')).to.throw(/byte order mark \(BOM\)/)
  })

  it('may be empty', () => expect(parseRegistry('{}', 'x')).to.deep.equal([]))

  it('accepts a host with the name of a secret', () => {
    expect(messagesOf({ a: fields('a', { host: 'anthropic-api-key' }) })).to.deep.equal([])
  })

  it('accepts an id that is a property name of JavaScript', () => {
    const registry = registryOf('constructor', 'valueof')
    expect(parseRegistry(registryText(registry), 'x')).to.deep.equal(registry)
  })

  const badEntries: [what: string, value: unknown, expected: RegExp][] = [
    ['an id with a capital', { Alpha: fields('alpha') }, /^Alpha: the id must begin with a-z/],
    ['an id that begins with a digit', { '1a': fields('a') }, /^1a: the id must begin/],
    ['an id that begins with a hyphen', { '-a': fields('a') }, /^-a: the id must begin/],
    ['an id with a dot', { 'a.b': fields('a') }, /^a\.b: the id must begin/],
    ['an id that ends with a newline', { 'a\n': fields('a') }, /^a\n: the id must begin/],
    ['an empty id', { '': fields('a') }, /^: the id must begin/],
    ['an id of 64 characters', { ['a'.repeat(64)]: fields('a') }, /^a{64}: the id must begin/],
    ['the id all', { all: fields('a') }, /^all: "all" is the target for the whole fleet/],
    ['an entry that is not an object', { a: 'b' }, /^a: must be an object with host, instanceType/],
    ['an entry that is an array', { a: [] }, /^a: must be an object/],
    ['an entry that is null', { a: null }, /^a: must be an object/],
    ['an unknown key', { a: fields('a', { ami: 'ami-1' }) }, /^a: unknown key "ami"; the keys are host,/],
    ['a key constructor', { a: fields('a', { constructor: 'x' }) }, /^a: unknown key "constructor"/],
    ['a missing key', { a: fields('a', { host: undefined }) }, /^a: host is missing/],
    ['a number', { a: fields('a', { host: 1 }) }, /^a: host must be a string/],
    ['null', { a: fields('a', { discordTokenSecret: null }) }, /^a: discordTokenSecret must be a string/],
    ['an object instead of a string', { a: fields('a', { host: {} }) }, /^a: host must be a string/],
    ['an invalid host', { a: fields('a', { host: 'A b' }) }, /^a: host must be a host name/],
    ['an empty host', { a: fields('a', { host: '' }) }, /^a: host must be a host name/],
    ['an invalid type', { a: fields('a', { instanceType: 'large' }) }, /^a: instanceType must be an EC2 instance type/],
    [
      'a token secret that every instance gets',
      { a: fields('a', { discordTokenSecret: 'anthropic-api-key' }) },
      /^a: discordTokenSecret "anthropic-api-key" is the name of a secret that every/,
    ],
    [
      "an instance's control token as its Discord token",
      { a: fields('a', { discordTokenSecret: 'clawdinator-control-token-b' }) },
      /^a: discordTokenSecret .* is the name of an instance's control token/,
    ],
    [
      'a token secret that is a path',
      { a: fields('a', { discordTokenSecret: '../t' }) },
      /^a: discordTokenSecret must be/,
    ],
  ]
  for (const [what, value, expected] of badEntries) {
    it(`refuses ${what}, and names the entry`, () => {
      const [message, ...more] = messagesOf(value)
      expect(message).to.match(expected)
      expect(more).to.deep.equal([])
    })
  }

  for (const prefix of ['', '/', '/a', 'a/', 'a//b', '..', 'a/../b', '../a', 'a/..', './a', 'a/.', 'a b', 'a\n', 'ä']) {
    it(`refuses the prefix ${JSON.stringify(prefix)}`, () => {
      expect(messagesOf({ a: fields('a', { bootstrapPrefix: prefix }) })[0]).to.match(/^a: bootstrapPrefix must be/)
    })
  }

  it('refuses a prefix in a reserved folder of the bucket', () => {
    const others = [HEARTBEAT_PREFIX, IMAGE_PREFIX, RECORD_PREFIX, FLEET_STATE_KEY, 'control-api/secrets.json']
    for (const other of others) {
      const [folder = ''] = other.split('/')
      for (const bootstrapPrefix of [folder, `${folder}/a`]) {
        expect(messagesOf({ a: fields('a', { bootstrapPrefix }) })).to.deep.equal([
          `a: bootstrapPrefix "${bootstrapPrefix}" is in ${folder}/, which is not for bundles`,
        ])
      }
      expect(messagesOf({ a: fields('a', { bootstrapPrefix: `boot/${folder}` }) })).to.deep.equal([])
    }
  })

  it('accepts dots within a part of a prefix', () => {
    expect(messagesOf({ a: fields('a', { bootstrapPrefix: 'boot.d/..a/v1..2' }) })).to.deep.equal([])
  })

  for (const field of ['host', 'bootstrapPrefix', 'discordTokenSecret'] as const) {
    it(`refuses two entries with one ${field}, and names both`, () => {
      const shared = entryOf('first')[field]
      expect(messagesOf({ first: fields('first'), second: fields('second', { [field]: shared }) })).to.deep.equal([
        `second: ${field} "${shared}" is already used by first`,
      ])
    })
  }

  it('reports the place of a shared value, and does not compare entries without it', () => {
    const text = registryText([entryOf('a'), entryOf('b', { discordTokenSecret: 'a-token' })])
    expect(problemsOf(text)[0]).to.include({ id: 'b', line: 12, column: 27, rule: 'shared-value' })
    const hostless = (id: string) => fields(id, { host: undefined })
    expect(messagesOf({ a: hostless('a'), b: hostless('b') })).to.deep.equal([
      'a: host is missing',
      'b: host is missing',
    ])
  })

  it('accepts one instance type in two entries, and one value in different fields', () => {
    expect(messagesOf({ a: fields('a', { discordTokenSecret: 'b' }), b: fields('b') })).to.deep.equal([])
  })

  it('refuses a repeated id or key, which JSON.parse would ignore', () => {
    const entry = JSON.stringify(fields('a'))
    expect(problemsOf(`{"a": ${entry},\n"a": ${entry}}`)).to.deep.equal([
      { id: 'a', line: 2, column: 1, rule: 'repeated', message: 'the id occurs twice' },
    ])
    expect(problemsOf(`{"a": {"host": "b", ${entry.slice(1)}}`).map((p) => p.message)).to.deep.equal([
      'the key "host" occurs twice',
    ])
  })

  it('reads __proto__ as a plain id and a plain key', () => {
    const entry = JSON.stringify(fields('a'))
    expect(problemsOf(`{"__proto__": ${entry}}`)[0]).to.include({ id: '__proto__', line: 1, column: 2 })
    expect(problemsOf(`{"a": {"__proto__": ${entry}, ${entry.slice(1)}}`)[0]?.message).to.match(/unknown key "__proto/)
  })

  for (const order of [
    ['outer', 'inner'],
    ['inner', 'outer'],
  ]) {
    it(`refuses a prefix inside another one's (${order.join(' before ')})`, () => {
      const entries: Record<string, Fields> = {
        outer: fields('outer', { bootstrapPrefix: 'boot/x' }),
        inner: fields('inner', { bootstrapPrefix: 'boot/x/y' }),
        beside: fields('beside', { bootstrapPrefix: 'boot/xy' }),
      }
      const value = Object.fromEntries([...order, 'beside'].map((id) => [id, entries[id]]))
      expect(messagesOf(value)).to.have.length(1)
      expect(messagesOf(value)[0]).to.match(/^inner: bootstrapPrefix "boot\/x\/y" is inside the prefix of outer/)
    })
  }

  for (const [outer, inner] of [
    ['boot', 'boot/x/y'],
    ['boot/x', 'boot/x/y/z'],
    ['boot/x', 'boot/x/y/z/a'],
  ] as const) {
    it(`refuses a prefix several folders inside another one's (${inner})`, () => {
      const value = { a: fields('a', { bootstrapPrefix: outer }), b: fields('b', { bootstrapPrefix: inner }) }
      expect(messagesOf(value)[0]).to.match(/^b: bootstrapPrefix .* is inside the prefix of a,/)
    })
  }

  it('returns no entry if any entry has a problem', () => {
    expect(checkRegistry(JSON.stringify({ a: fields('a'), b: fields('b', { x: 1 }) })).entries).to.deep.equal([])
  })

  it('reports the place of the nested prefix', () => {
    const text = registryText([
      entryOf('a', { bootstrapPrefix: 'boot/x' }),
      entryOf('b', { bootstrapPrefix: 'boot/x/y' }),
    ])
    expect(problemsOf(text)[0]).to.include({ id: 'b', line: 8, rule: 'nested-prefix' })
  })

  it('finds the problems of every entry and counts them', () => {
    const text = JSON.stringify({ a: fields('a', { host: '' }), b: 1, c: fields('c', { x: 1 }) })
    expect(problemsOf(text).map((problem) => problem.id)).to.deep.equal(['a', 'b', 'c'])
    expect(checkRegistry(text).entries).to.deep.equal([])
    expect(thrown(() => parseRegistry(text, 'f.json')).message).to.match(/^f\.json:1:\d+: a: host .* \(and 2 more\)\.$/)
  })

  it('finds every missing key of an entry', () => {
    expect(messagesOf({ a: { instanceType: 't3.large', bootstrapPrefix: 'b/a' } })).to.deep.equal([
      'a: host is missing',
      'a: discordTokenSecret is missing',
    ])
  })

  it('reports line, column, origin and what to do', () => {
    const text = '{\r\n  "a": {\r\n    "host": "a",\r\n\t"color": "red"\r\n  }\r\n}'
    const error = thrown(() => parseRegistry(text, 'nix/instances.json'))
    expect(error.code).to.equal('INVALID_REGISTRY')
    expect(error.message).to.match(/^nix\/instances\.json:4:2: a: unknown key "color"/)
    expect(error.hint).to.be.a('string')
    expect(error.partial).to.deep.equal({ problems: problemsOf(text) })
  })

  it('reports one problem as one, and lists up to twenty others', () => {
    const one = thrown(() => parseRegistry('[]', 'f.json'))
    expect(one.message).to.equal('f.json:1:1: must be one JSON object that maps instance ids to their settings.')
    expect([one.hint, one.details]).to.deep.equal(['Fix it in f.json.', []])
    const comma = thrown(() => parseRegistry('{"a": {},\n}', 'f.json'))
    expect(comma.message).to.match(/^f\.json:2:1: broken JSON: property name expected \(and 1 more\)\.$/)
    const many = thrown(() => parseRegistry(JSON.stringify({ a: {}, b: {}, c: {}, d: {}, e: {}, f: {} }), 'f.json'))
    expect(many.message).to.match(/^f\.json:1:6: a: host is missing \(and 23 more\)\.$/)
    expect(many.hint).to.equal('Fix each of the above in f.json.')
    expect(many.details).to.have.length(20)
    expect(many.details?.[0]).to.equal('1:6: a: instanceType is missing')
  })

  const broken: [what: string, text: string, entry: string | null, line: number, column: number][] = [
    ['an empty file', '', null, 1, 1],
    ['blanks only', ' \n ', null, 2, 2],
    ['a byte order mark', '\ufeff{}', null, 1, 1],
    ['an array', '[]', null, 1, 1],
    ['null', 'null', null, 1, 1],
    ['a second document', '{}\n{}', null, 2, 1],
    ['a missing value', '{\n "a": {\n  "host": ,\n "x": 1}\n}', 'a', 3, 11],
    ['a missing comma between entries', '{"a": {}\n"b": {}}', 'b', 2, 1],
    ['a trailing comma', '{"a": {},\n}', null, 2, 1],
    ['a trailing comma within an entry', '{"a": {"host": "a",\n}}', 'a', 2, 1],
    ['a comment', '{\n// why\n}', null, 2, 1],
    ['a file that ends inside an entry', '{\n "a": {"host": "a"', 'a', 2, 19],
    ['a file that ends after an entry', '{"a": {}', 'a', 1, 9],
    ['an unclosed string', '{"a": {"host": "a\n}}', 'a', 1, 16],
    ['single quotes', "{'a': {}}", null, 1, 2],
    ['a comma before the first entry', '{ ,"a": {}}', null, 1, 3],
  ]
  for (const [what, text, entry, line, column] of broken) {
    it(`refuses ${what} at its place`, () => {
      const { problems, entries, ids } = checkRegistry(text)
      const [first] = problems
      expect([first?.line, first?.column]).to.deep.equal([line, column])
      expect(first?.id).to.equal(entry)
      expect([entries, ids]).to.deep.equal([[], []])
      expect(new Set(problems.map(({ rule }) => rule))).to.deep.equal(new Set(['syntax']))
      expect(thrown(() => parseRegistry(text, 'f.json')).message).to.match(new RegExp(`^f\\.json:${line}:${column}: `))
    })
  }

  const id = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((text) => text !== 'all')
  const registry = fc
    .uniqueArray(id, { maxLength: 8 })
    .map((ids) => ids.map((text): RegistryEntry => entryOf(text, { bootstrapPrefix: `b/${text}/v1` })))

  it('keeps any valid registry and its order', () => {
    fc.assert(
      fc.property(registry, fc.constantFrom(undefined, 1, '\t'), (entries, indent) => {
        const text = `{${entries.map(({ id, ...rest }) => `"${id}": ${JSON.stringify(rest, null, indent)}`).join(',')}}`
        expect(parseRegistry(text, 'x')).to.deep.equal(entries)
      }),
    )
  })

  it('fails only with INVALID_REGISTRY and a place in the text, for any text', () => {
    const piece = fc.constantFrom('{', '}', '[', ']', '"', ':', ',', '\\', '"a"', '"host"', '1', 'null', '//', '\n')
    const damaged = fc
      .tuple(fc.constant(registryText(registryOf('a', 'b'))), fc.nat(400), fc.nat(20), fc.string({ maxLength: 3 }))
      .map(([text, at, length, put]) => text.slice(0, at) + put + text.slice(at + length))
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      damaged,
      fc.array(piece).map((pieces) => pieces.join('')),
    )
    fc.assert(
      fc.property(text, (input) => {
        const { problems } = checkRegistry(input)
        const lines = input.split('\n')
        for (const { line, column } of problems) {
          expect(column).to.be.within(1, (lines[line - 1] ?? '').length + 1)
        }
        if (problems.length > 0) expect(thrown(() => parseRegistry(input, 'x')).code).to.equal('INVALID_REGISTRY')
      }),
      { numRuns: 500 },
    )
  })

  it('refuses a file that is nested too deeply', () => {
    const text = '{"a":'.repeat(100_000)
    expect(thrown(() => parseRegistry(text, 'x')).message).to.equal('x:1:1: broken JSON: nested too deeply.')
    expect(checkRegistry(text).entries).to.deep.equal([])
  })
})
