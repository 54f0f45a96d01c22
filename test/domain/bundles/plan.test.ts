import { createHash } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { objectKey, parseObjectKey, secretNameOf } from '../../../src/lib/domain/bundles/layout.js'
import { judgeBundle, manifestKey, parseManifest } from '../../../src/lib/domain/bundles/manifest.js'
import { manifestText, planBundle, type WantedObject } from '../../../src/lib/domain/bundles/plan.js'
import { SHARED_SECRET_NAMES } from '../../../src/lib/domain/bundles/secrets.js'
import type { BundleObject } from '../../../src/lib/domain/contract/index.js'
import { entryOf } from '../../support/fakes.js'

const entry = entryOf('a')
const AT = { revision: null, by: 'test', at: new Date(0) }
const digests = new Map<string, string>()
/** Cached, because the same few texts are hashed a hundred thousand times. */
function digest(text: string): string {
  const known = digests.get(text) ?? createHash('sha256').update(text).digest('hex')
  digests.set(text, known)
  return known
}

/** A secret whose content is `text`. */
const secret = (name: string, text: string): WantedObject => ({
  ...{ kind: 'secret', name, size: text.length, sha256: digest(text) },
})
const identity = (text: string): WantedObject => ({ ...secret('age-identity', text), kind: 'identity' }) as WantedObject
const repo = (text: string): WantedObject => ({
  ...{ kind: 'repo', name: 'clawdinators', size: text.length, sha256: digest(text) },
  ...{ url: null, branch: 'main', commit: digest(text).slice(0, 40) },
})
const wantedOf = (contents: readonly string[]) => [
  ...SHARED_SECRET_NAMES.map((name, n) => secret(name, contents[n % contents.length] ?? '')),
  secret(entry.discordTokenSecret, `token ${contents[0]}`),
  identity(`identity ${contents[0]}`),
  repo(`repo ${contents[0]}`),
]

/** One prefix of a bucket: keys with contents, and a manifest with an entity tag. */
class Prefix {
  readonly objects = new Map<string, string>()
  manifest: string | null = null
  #tag = 0
  #judged: { manifest: string | null; objects: BundleObject[] } = { manifest: null, objects: [] }

  get tag(): number | null {
    return this.manifest === null ? null : this.#tag
  }

  putIf(text: string, tag: number | null): boolean {
    if (tag !== this.tag) return false
    this.manifest = text
    this.#tag += 1
    return true
  }

  list() {
    const objects = [...this.objects].map(([key, text]) => ({ key, size: text.length }))
    return this.manifest === null ? objects : [...objects, { key: manifestKey(entry), size: this.manifest.length }]
  }

  /** The problems that a host would find now. */
  problems(): string[] {
    return this.#named().flatMap(({ key, sha256 }) => {
      const text = this.objects.get(`${entry.bootstrapPrefix}/${key}`)
      return text !== undefined && digest(text) === sha256 ? [] : [`${key} has not its content`]
    })
  }

  /** Objects of the manifest in place, which is checked once. */
  #named(): BundleObject[] {
    if (this.#judged.manifest !== this.manifest) {
      expect(judgeBundle(entry, { manifest: this.manifest, objects: this.list() })).to.deep.equal([])
      this.#judged = { manifest: this.manifest, objects: parseManifest(this.manifest)?.objects ?? [] }
    }
    return this.#judged.objects
  }
}

/** `bootstrap upload` in steps of one request each: it may be killed between any two. */
function* upload(prefix: Prefix, contents: readonly string[]): Generator<void, 'done' | 'conflict'> {
  const wanted = wantedOf(contents)
  const texts = new Map(
    [...contents, ...contents.map((text) => `token ${text}`), `identity ${contents[0]}`, `repo ${contents[0]}`].map(
      (text) => [digest(text), text],
    ),
  )
  const { tag, manifest } = prefix
  yield
  const plan = planBundle(entry, wanted, { manifest, objects: prefix.list() })
  if (plan.action !== 'unchanged') {
    for (const { key, sha256 } of plan.missing) {
      yield
      prefix.objects.set(`${entry.bootstrapPrefix}/${key}`, texts.get(sha256) ?? 'unknown')
    }
    yield
    if (!prefix.putIf(manifestText(plan, AT), tag)) return 'conflict'
  }
  for (const key of plan.garbage) {
    yield
    prefix.objects.delete(key)
  }
  return 'done'
}

describe('planBundle', () => {
  const first = planBundle(entry, wantedOf(['x']), { manifest: null, objects: [] })
  const manifest = manifestText(first, AT)
  const keyed = (key: string, size = 1) => ({ key: `${entry.bootstrapPrefix}/${key}`, size })
  const stored = (extra: readonly { key: string; size: number }[] = []) => ({
    manifest,
    objects: [...first.objects.map(({ key, size }) => keyed(key, size)), keyed('config.json'), ...extra],
  })

  it('starts with generation 1', () => {
    expect(first).to.include({ action: 'create', generation: 1 })
    expect(first.missing).to.deep.equal(first.objects)
    expect(first.garbage).to.deep.equal([])
    expect(first.objects.map(({ file }) => file)).to.deep.equal(first.objects.map(({ file }) => file).sort())
    expect(judgeBundle(entry, { manifest, objects: stored().objects })).to.deep.equal([])
  })

  it('changes nothing if nothing differs', () => {
    expect(planBundle(entry, wantedOf(['x']), stored())).to.include({ action: 'unchanged', generation: 1 })
  })

  it('keeps equal objects, and gives changed ones a key of the next generation', () => {
    const wanted = wantedOf(['x']).map((object) => (object.kind === 'repo' ? repo('new') : object))
    const plan = planBundle(entry, wanted, stored())
    expect(plan).to.include({ action: 'replace', generation: 2 })
    expect(plan.missing.map(({ key }) => parseObjectKey(key))).to.deep.equal([{ name: 'clawdinators', generation: 2 }])
    expect(plan.garbage).to.deep.equal([keyed(first.objects.find(({ kind }) => kind === 'repo')?.key ?? '').key])
  })

  it('sends an object again that is missing or has another size, under a new key', () => {
    const lost = stored().objects.filter(({ key }) => !key.includes('openai'))
    const [missing, ...others] = planBundle(entry, wantedOf(['x']), { manifest, objects: lost }).missing
    expect(others).to.deep.equal([])
    expect(parseObjectKey(missing?.key ?? '')).to.deep.equal({ name: 'openai-api-key', generation: 2 })
  })

  it('replaces the manifest if the registry changed', () => {
    const moved = { ...entry, host: 'elsewhere' }
    expect(planBundle(moved, wantedOf(['x']), stored())).to.include({ action: 'replace', generation: 2 })
  })

  it('keeps an identity that was not given again, and replaces it by a given one', () => {
    const secrets = (content: string) => wantedOf([content]).filter(({ kind }) => kind !== 'identity')
    const withIdentity = planBundle(entry, [...secrets('x'), identity('k1')], { manifest: null, objects: [] })
    const there = {
      manifest: manifestText(withIdentity, AT),
      objects: withIdentity.objects.map(({ key, size }) => keyed(key, size)),
    }
    const names = (plan: typeof first) => plan.objects.filter(({ kind }) => kind === 'identity').map((o) => o.sha256)
    expect(planBundle(entry, secrets('x'), there).action).to.equal('unchanged')
    expect(names(planBundle(entry, secrets('y'), there))).to.deep.equal([digest('k1')])
    expect(names(planBundle(entry, [...secrets('x'), identity('k2')], there))).to.deep.equal([digest('k2')])
  })

  it("keeps an earlier upload's test result of a secret that this one could not test", () => {
    const opened = (object: WantedObject): WantedObject =>
      object.kind === 'secret' ? { ...object, openedBy: '0123456789abcdef' } : object
    const tested = planBundle(entry, wantedOf(['x']).map(opened), { manifest: null, objects: [] })
    const there = {
      manifest: manifestText(tested, AT),
      objects: tested.objects.map(({ key, size }) => keyed(key, size)),
    }
    const again = planBundle(entry, wantedOf(['x']), there)
    expect(again.action).to.equal('unchanged')
    expect(again.objects).to.deep.equal(tested.objects)
    const changed = planBundle(entry, wantedOf(['y']), there).objects
    expect(changed.filter((object) => object.kind === 'secret' && object.openedBy)).to.deep.equal([])
  })

  it('removes objects that no manifest will name again, and keeps those of a running upload', () => {
    const old = keyed(objectKey('secret', 'openai-api-key', 1, digest('killed')))
    const underWay = keyed(objectKey('secret', 'openai-api-key', 2, digest('other')))
    const strange = keyed('secrets/notes.txt')
    const elsewhere = { key: 'bootstrap/ab/secrets/x.1.0123456789abcdef.age', size: 1 }
    const there = stored([old, underWay, strange, elsewhere])
    expect(planBundle(entry, wantedOf(['x']), there).garbage).to.have.members([old.key, strange.key])
    const replaced = planBundle(entry, wantedOf(['y']), there).garbage
    expect(replaced).to.include.members([old.key, underWay.key]).and.not.include(elsewhere.key)
  })

  it('resumes an upload that was killed before there was a manifest', () => {
    const objects = first.objects.map(({ key, size }) => keyed(key, size))
    const plan = planBundle(entry, wantedOf(['x']), { manifest: null, objects })
    expect(plan.objects).to.deep.equal(first.objects)
    expect(plan).to.include({ action: 'create', generation: 1 })
  })

  it("starts at generation 1 over an invalid manifest, or another instance's", () => {
    for (const strange of ['{', manifest.replace('"id": "a"', '"id": "b"')]) {
      const plan = planBundle(entry, wantedOf(['x']), { ...stored(), manifest: strange })
      expect(plan).to.include({ action: 'replace', generation: 2 })
      expect(plan.missing).to.have.length(plan.objects.length)
    }
  })

  it('leaves a complete bundle at every moment, with concurrent and killed uploads', () => {
    // Few different values, so that some uploads have nothing to change.
    const content = fc.array(fc.constantFrom('v1', 'v2', 'v3'), { minLength: 2, maxLength: 2 })
    const move = fc.record({ who: fc.nat(2), killed: fc.nat(24).map((n) => n === 0) })
    fc.assert(
      fc.property(
        fc.array(content, { minLength: 3, maxLength: 3 }),
        fc.array(move, { minLength: 100, maxLength: 100, size: 'max' }),
        (wants, moves) => {
          const prefix = new Prefix()
          const start = upload(prefix, ['v0'])
          while (!start.next().done) {}
          const running = wants.map((want) => upload(prefix, want))
          for (const [nth, { who, killed }] of moves.entries()) {
            // An upload that ended or was killed starts again with new content.
            if (killed || running[who]?.next().done)
              running[who] = upload(prefix, wants[(who + nth) % wants.length] ?? [])
            if (prefix.problems().length > 0) expect(prefix.problems()).to.deep.equal([])
          }
          const last = upload(prefix, ['v9'])
          for (let step = last.next(); ; step = last.next()) if (step.done) break
          expect(prefix.problems()).to.deep.equal([])
          expect(parseManifest(prefix.manifest)?.objects.some(({ sha256 }) => sha256 === digest('v9'))).to.equal(true)
          const named = parseManifest(prefix.manifest)?.objects.length
          expect(prefix.objects.size, 'left lying').to.equal(named)
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('the keys of a bundle', () => {
  it('contain name and generation, or the name of a plain file', () => {
    const key = objectKey('secret', 'a.b-1', 12, digest('x'))
    expect(key).to.match(/^secrets\/a\.b-1\.12\.[0-9a-f]{16}\.age$/)
    expect(parseObjectKey(key)).to.deep.equal({ name: 'a.b-1', generation: 12 })
    expect(secretNameOf(key)).to.equal('a.b-1')
    expect(secretNameOf('secrets/plain.age')).to.equal('plain')
    expect(secretNameOf('repos/x.age')).to.equal(null)
    expect(secretNameOf('secrets/../x.age')).to.equal(null)
    expect(parseObjectKey('config.json')).to.equal(null)
  })
})
