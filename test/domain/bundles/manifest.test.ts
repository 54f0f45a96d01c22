import { expect } from 'chai'
import {
  type BundleView,
  heartbeatKey,
  judgeBundle,
  manifestKey,
  type ObjectEvidence,
} from '../../../src/lib/domain/bundles/manifest.js'
import { parseJson } from '../../../src/lib/domain/json.js'
import { bundleOf, entryOf } from '../../support/fakes.js'

const entry = entryOf('a')
const other = entryOf('b')
const registry = [entry, other]
const { manifest } = bundleOf(entry)
const stored = manifest.objects.map(({ key, size }) => ({ key: `bootstrap/a/${key}`, size }))
const problems = (value: unknown, found = stored, view: Partial<BundleView> = {}) => {
  const text = typeof value === 'string' || value === null ? value : JSON.stringify(value)
  return judgeBundle(entry, { manifest: text, objects: found, ...view }, registry)
}
const without = (part: string) => ({ ...manifest, objects: manifest.objects.filter(({ name }) => name !== part) })
const seen = (part: string, evidence: ObjectEvidence) => ({
  evidence: new Map(manifest.objects.filter(({ name }) => name === part).map(({ key }) => [key, evidence])),
})

describe('judgeBundle', () => {
  it('finds no problem in a complete bundle, whatever objects an upload has left', () => {
    const left = { key: 'bootstrap/a/secrets/openai-api-key.7.0123456789abcdef.age', size: 1 }
    expect(problems(manifest, [...stored, left])).to.deep.equal([])
    expect(judgeBundle(entry, { manifest: JSON.stringify(manifest), objects: stored })).to.deep.equal([])
  })

  const openai = 'secrets/openai-api-key.age'
  const keyOf = (file: string) => `bootstrap/a/${file}`
  const resized = (size: number) => stored.map((o) => (o.key === keyOf(openai) ? { ...o, size } : o))
  const identity = {
    kind: 'identity',
    name: 'age-identity',
    file: 'secrets/i.key',
    key: 'secrets/i.key',
    size: 1,
  } as const
  const withIdentity = { ...manifest, objects: [...manifest.objects, { ...identity, sha256: 'd'.repeat(64) }] }
  const size = stored.find(({ key }) => key === keyOf(openai))?.size
  type Row = [why: string, manifest: unknown, found: typeof stored, view: Partial<BundleView>, expected: string[]]
  const table: Row[] = [
    ['no manifest', null, stored, {}, ['bootstrap/a/config.json does not exist']],
    ['broken JSON', '{', stored, {}, ["bootstrap/a/config.json is not a bundle's manifest"]],
    ['an empty manifest', '', stored, {}, ["bootstrap/a/config.json is not a bundle's manifest"]],
    ['JSON null', 'null', stored, {}, ["bootstrap/a/config.json is not a bundle's manifest"]],
    [
      'another schema',
      { ...manifest, schema: 1 },
      stored,
      {},
      ['bootstrap/a/config.json has schema 1, but this clawctl reads schema 2'],
    ],
    [
      'a key that leads out of the prefix',
      { ...manifest, objects: manifest.objects.map((o) => ({ ...o, key: '../b/secrets/x.age' })) },
      stored,
      {},
      ["bootstrap/a/config.json is not a bundle's manifest"],
    ],
    [
      'the manifest of another instance',
      bundleOf(other).manifest,
      stored,
      {},
      ['bootstrap/a/config.json belongs to "b"'],
    ],
    [
      'an old token',
      { ...manifest, instance: { ...manifest.instance, discordTokenSecret: 'old' } },
      stored,
      {},
      ['it was made with old, but the registry now names a-token'],
    ],
    [
      'an old host',
      { ...manifest, instance: { ...manifest.instance, host: 'old' } },
      stored,
      {},
      ['it was made for the host "old"'],
    ],
    ['a missing object', manifest, stored.filter(({ key }) => key !== keyOf(openai)), {}, [`${openai} is missing`]],
    ['only missing objects', manifest, [], {}, manifest.objects.map(({ key }) => `${key} is missing`)],
    ['another size', manifest, resized(1), {}, [`${openai} has 1 bytes instead of ${size}`]],
    ['an empty object', manifest, resized(0), {}, [`${openai} has 0 bytes instead of ${size}`]],
    [
      'a missing required secret',
      without('openai-api-key'),
      stored,
      {},
      ['openai-api-key (OpenAI API key) is not in it'],
    ],
    ['a missing token of its own', without('a-token'), stored, {}, ['a-token (Discord bot token) is not in it']],
    ['a missing flake', without('clawdinators'), stored, {}, ['the repository clawdinators is not in it']],
    [
      'a file that is named twice',
      { ...manifest, objects: [...manifest.objects, manifest.objects.at(-1)] },
      stored,
      {},
      ['repos/clawdinators.tar.gz is named twice'],
    ],
    ['other content', manifest, stored, seen('openai-api-key', { sha256: 'x' }), [`${openai} has another SHA-256`]],
    [
      'content that is not ciphertext',
      manifest,
      stored,
      seen('openai-api-key', { age: 'is not age ciphertext' }),
      [`${openai} is not age ciphertext`],
    ],
    [
      'further problems of an object',
      manifest,
      stored,
      seen('clawdinators', { problems: ['is odd'] }),
      ['repos/clawdinators.tar.gz is odd'],
    ],
    [
      'an identity without KMS encryption',
      withIdentity,
      [...stored, { key: 'bootstrap/a/secrets/i.key', size: 1 }],
      { evidence: new Map([['secrets/i.key', { encryption: 'AES256' }]]) },
      ['secrets/i.key is an identity that is not encrypted with KMS'],
    ],
    [
      "another instance's token below the prefix, by name",
      manifest,
      [...stored, { key: 'bootstrap/a/secrets/b-token.3.0123456789abcdef.age', size: 1 }],
      {},
      ['secrets/b-token.3.0123456789abcdef.age holds a secret of b'],
    ],
    [
      "another instance's control token in a plain file",
      manifest,
      [...stored, { key: 'bootstrap/a/secrets/clawdinator-control-token-b.age', size: 1 }],
      {},
      ['secrets/clawdinator-control-token-b.age holds a secret of b'],
    ],
    [
      "another instance's token under a shared name, by content",
      manifest,
      stored,
      {
        others: [
          {
            ...bundleOf(other).manifest,
            objects: bundleOf(other).manifest.objects.map((o) =>
              o.name === 'b-token'
                ? { ...o, sha256: manifest.objects.find(({ name }) => name === 'openai-api-key')?.sha256 ?? '' }
                : o,
            ),
          },
        ],
      },
      [`${openai} holds a secret of b`],
    ],
  ]
  for (const [why, value, found, view, expected] of table) {
    it(`reports ${why}`, () => expect(problems(value, found, view)).to.deep.equal(expected))
  }
})

describe('keys and JSON', () => {
  it('match the forms that the hosts read and write', () => {
    expect(manifestKey(entryOf('a', { bootstrapPrefix: 'other/place' }))).to.equal('other/place/config.json')
    expect(heartbeatKey('a', 'i-1')).to.equal('heartbeats/a/i-1.json')
  })

  it('returns undefined for text that is not JSON', () => {
    expect(parseJson('{')).to.equal(undefined)
    expect(parseJson('null')).to.equal(null)
  })
})
