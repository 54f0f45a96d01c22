import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { expect } from 'chai'
import { ageIdentities } from '../../../src/lib/adapters/bundles/ageIdentities.js'
import { createBundleStore } from '../../../src/lib/adapters/bundles/bundleStore.js'
import { secretsFolder } from '../../../src/lib/adapters/bundles/secretsFolder.js'
import { createGit } from '../../../src/lib/adapters/bundles/seeds/git.js'
import { seedInspector } from '../../../src/lib/adapters/bundles/seeds/inspect.js'
import { listedSeeds } from '../../../src/lib/adapters/bundles/seeds/sources.js'
import { parseManifest } from '../../../src/lib/domain/bundles/manifest.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { parseRegistry } from '../../../src/lib/domain/registry/registry.js'
import { parseFault } from '../../../src/lib/domain/sandboxOptions.js'
import { checkBundles } from '../../../src/lib/ops/bundles/checkBundles.js'
import type { BundleStore } from '../../../src/lib/ops/bundles/ports.js'
import { type UploadRequest, type UploadResult, uploadBundles } from '../../../src/lib/ops/bundles/upload.js'
import { verifyBundles } from '../../../src/lib/ops/bundles/verify.js'
import { SecretsWorld } from '../../support/bundles.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeProgress } from '../../support/fakes.js'
import { BUCKET, REGION, REGISTRY, startPlane, type TestPlane } from '../../support/plane.js'

const IDS = ['clawdinator-1', 'clawdinator-2']
const KMS_KEY = `arn:aws:kms:${REGION}:000000000000:key/00000000-0000-0000-0000-000000000000`
const REGISTRY_TEXT = JSON.stringify(REGISTRY)
const registry = { read: async () => ({ text: REGISTRY_TEXT, origin: 'nix/instances.json' }) }

/** Calls that change the bucket: a kill can come before or after each. */
const WRITES = ['send', 'copy', 'putIf', 'remove'] as const

describe('uploadBundles', () => {
  let plane: TestPlane
  let secrets: SecretsWorld
  let store: ReturnType<typeof createBundleStore>
  let scratches = 0

  before(async () => {
    plane = await startPlane()
    secrets = await SecretsWorld.make(IDS)
    store = createBundleStore({ region: REGION, bucket: BUCKET, folder: () => secrets.folder })
  })
  after(async () => {
    await plane.close()
    secrets.remove()
  })

  interface Change extends Partial<UploadRequest> {
    store?: BundleStore
    identities?: boolean
  }
  async function upload({ store: over, identities, ...change }: Change = {}): Promise<UploadResult> {
    scratches += 1
    const folder = secrets.path(`scratch-${scratches}`)
    const request = { target: 'all', extra: [], kmsKey: KMS_KEY, dryRun: false, revision: 'abc', by: 'test', ...change }
    return uploadBundles(request, {
      registry,
      store: over ?? store,
      secrets: secretsFolder(secrets.secretsDir),
      identities: ageIdentities(identities ? { folder: secrets.identitiesDir } : {}),
      seeds: listedSeeds(secrets.repos, { git: createGit(process.env, undefined), scratch: () => folder }),
      clock: new FakeClock(),
      progress: new FakeProgress(),
    })
  }
  const verify = (target = 'all', depth: Parameters<typeof verifyBundles>[0]['depth'] = { kind: 'full' }) =>
    verifyBundles({ target, depth }, { registry, store, progress: new FakeProgress() })
  const puts = (from: number) => plane.requests.slice(from).filter(({ method }) => method === 'PUT').length
  const manifest = async (id: string) => parseManifest((await store.get(`bootstrap/${id}/config.json`))?.text ?? null)
  const outcomes = ({ bundles }: UploadResult) => bundles.map(({ outcome }) => outcome)

  /** A store of a process that is killed at the nth change; earlier changes are stored. */
  function dyingAt(nth: number): { store: BundleStore; asked: () => number } {
    let asked = 0
    const dying = Object.fromEntries(
      WRITES.map((name) => [
        name,
        async (...args: unknown[]) => {
          asked += 1
          if (asked >= nth) throw new ClawctlError('UPSTREAM', 'The process was killed.')
          return (store[name] as (...args: unknown[]) => Promise<unknown>)(...args)
        },
      ]),
    )
    return { store: { ...store, ...dying } as BundleStore, asked: () => asked }
  }

  it('uploads every bundle, sends shared objects once, and nothing the second time', async () => {
    const before = plane.requests.length
    const first = await upload({ identities: true })
    expect(outcomes(first)).to.deep.equal(['created', 'created'])
    expect(first.bundles.map(({ copied }) => copied).sort()).to.deep.equal([0, 1])
    expect(puts(before)).to.equal(2 * (5 + 1 + 1 + 1))
    const { bundles } = await verify()
    expect(bundles.map(({ whole, objects, unnamed }) => [whole, objects, unnamed])).to.deep.equal([
      [true, 7, 0],
      [true, 7, 0],
    ])
    const again = plane.requests.length
    expect(outcomes(await upload({ identities: true }))).to.deep.equal(['unchanged', 'unchanged'])
    expect(puts(again)).to.equal(0)
  })

  it('stores identities only with KMS encryption, readable only by their own instance', async () => {
    for (const id of IDS) {
      const object = (await manifest(id))?.objects.find(({ kind }) => kind === 'identity')
      const key = `bootstrap/${id}/${object?.key}`
      expect((await store.head(key, false))?.encryption).to.equal('aws:kms')
      expect(Buffer.from((await store.read(key, true))?.bytes ?? []).toString()).to.include(secrets.identity(id))
      expect(JSON.stringify(await manifest(id))).not.to.include('AGE-SECRET-KEY')
    }
    const identity = (id: string) => ageIdentities({ folder: secrets.identitiesDir }).of(id)
    const inspector = seedInspector(createGit(process.env, undefined), () => secrets.folder)
    const { parse } = ageIdentities({})
    const deep = { kind: 'deep' as const, identityOf: identity, parse, downloads: store, inspector }
    // The bundle's own identity, if none is given.
    expect((await verify('all', { ...deep, identityOf: async () => null })).notes).to.deep.equal([])
    expect((await verify('all', deep)).notes).to.deep.equal([])
    const swapped = { ...deep, identityOf: (id: string) => identity(id === IDS[0] ? (IDS[1] ?? '') : (IDS[0] ?? '')) }
    const bundles = (await failureOf(verify('all', swapped))).partial?.bundles as { problems: string[] }[]
    const problems = bundles.map((bundle) => bundle.problems)
    expect(problems.map((list) => list.length)).to.deep.equal([1, 1])
    expect(problems[0]?.[0]).to.match(
      /secrets\/token-clawdinator-1\..*can't be decrypted: the instance's identity does not open it/,
    )
  })

  it('sends only a rotated secret, keeps the identity, and removes the old object', async () => {
    const old = await manifest('clawdinator-1')
    await secrets.put('token-clawdinator-1', ['clawdinator-1'])
    const result = await upload()
    expect(outcomes(result)).to.deep.equal(['replaced', 'unchanged'])
    expect(result.bundles[0]).to.include({ sent: 1, copied: 0, kept: 6, removed: 1, generation: 2 })
    const now = await manifest('clawdinator-1')
    const changed = now?.objects.filter(({ key }) => !old?.objects.some((object) => object.key === key))
    expect(changed?.map(({ file }) => file)).to.deep.equal(['secrets/token-clawdinator-1.age'])
    expect(now?.objects.some(({ kind }) => kind === 'identity')).to.equal(true)
    await verify()
  })

  it('leaves every bundle complete, old or new, after a kill at any call', async () => {
    let kills = 0
    for (let nth = 1; ; nth += 1) {
      await secrets.put('openai-api-key', IDS)
      const dying = dyingAt(nth)
      const failure = await upload({ store: dying.store }).then(
        () => null,
        (error: ClawctlError) => error,
      )
      await verify()
      if (dying.asked() < nth) break
      kills += 1
      // A kill while old objects are removed comes after the new bundle is in place.
      if (failure) expect(failure.partial?.upload).to.have.property('bundles')
    }
    expect(kills).to.be.at.least(6)
    expect(outcomes(await upload())).to.deep.equal(['unchanged', 'unchanged'])
    const { bundles } = await verify()
    expect(bundles.map(({ unnamed }) => unnamed)).to.deep.equal([0, 0])
  })

  it('does not send again what a killed upload has sent', async () => {
    await secrets.put('anthropic-api-key', IDS)
    await secrets.put('github-app-key', IDS)
    await failureOf(
      upload({ target: 'clawdinator-1', store: { ...store, putIf: () => Promise.reject(new Error('killed')) } }),
    )
    const { bundles } = await upload({ target: 'clawdinator-1' })
    expect(bundles[0]).to.include({ outcome: 'replaced', sent: 0, kept: 7 })
    await upload()
    await verify()
  })

  it('fails if another upload was faster, and reports it', async () => {
    await secrets.put('anthropic-api-key', IDS)
    const slow: BundleStore = {
      ...store,
      async putIf(key, text, etag) {
        if (key.includes('clawdinator-1')) {
          await secrets.put('github-app-key', IDS)
          await upload({ target: 'clawdinator-1' })
        }
        return store.putIf(key, text, etag)
      },
    }
    const failure = await failureOf(upload({ store: slow }))
    expect(failure).to.include({ code: 'BUNDLE_CONFLICT' })
    expect(failure.message).to.include('clawdinator-1').and.not.include('clawdinator-2')
    expect(outcomes(failure.partial?.upload as UploadResult)).to.deep.equal(['conflict', 'replaced'])
    await verify()
    await upload()
    await verify()
  })

  it('sends an archive itself if the bundle with a copy was replaced meanwhile', async () => {
    secrets.repository('clawdinators', 'even newer')
    const result = await upload({ store: { ...store, copy: async () => false } })
    expect(result.bundles.map(({ copied }) => copied)).to.deep.equal([0, 0])
    await verify()
  })

  it('survives as many failures as one retry layer handles, and reports an S3 outage with the outcome of each bundle', async () => {
    await secrets.put('anthropic-api-key', IDS)
    secrets.repository('clawdinators', 'newest')
    plane.faults.add(parseFault('s3:error=1'))
    expect(outcomes(await upload())).to.deep.equal(['replaced', 'replaced'])
    await secrets.put('anthropic-api-key', IDS)
    const broken = { ...store, send: () => Promise.reject(new ClawctlError('UPSTREAM', 'S3 PutObject failed.')) }
    const failure = await failureOf(upload({ store: broken }))
    expect(failure).to.include({ code: 'UPSTREAM' })
    expect(failure.details).to.have.length(2)
    await verify()
    await upload()
  })

  it("uploads nothing if a repository can't be cloned, and names each of them", async () => {
    const before = plane.requests.length
    secrets.list(['clawdinators', 'gone', 'lost'])
    try {
      const failure = await failureOf(upload())
      expect(failure).to.include({ code: 'UPSTREAM' })
      expect(failure.message).to.include('2 repositories').and.include('gone, lost')
      expect(failure.partial?.repositories).to.have.length(2)
      secrets.list(['clawdinators'], 'no-such-branch')
      expect((await failureOf(upload())).message)
        .to.include('clawdinators')
        .and.include('no-such-branch')
      secrets.list(['other'])
      expect((await failureOf(upload())).code).to.equal('INVALID_REQUEST')
    } finally {
      secrets.list(['clawdinators'])
    }
    expect(puts(before)).to.equal(0)
  })

  it('copies an archive from the bundle of another instance, and does not pack it again', async () => {
    await upload()
    const bucket = plane.world.buckets.get(BUCKET)
    for (const { key } of await store.list('bootstrap/clawdinator-1/')) bucket?.delete(key)
    const { bundles } = await upload({ target: 'clawdinator-1', identities: true })
    expect(bundles[0]).to.include({ outcome: 'created', copied: 1, kept: 0, sent: 6 })
    expect(existsSync(secrets.path(`scratch-${scratches}`))).to.equal(false)
    await verify()

    // An overwritten object is not used as a source.
    for (const { key } of await store.list('bootstrap/clawdinator-1/')) bucket?.delete(key)
    const theirs = (await manifest('clawdinator-2'))?.objects.find(({ kind }) => kind === 'repo')
    plane.world.putObject(BUCKET, `bootstrap/clawdinator-2/${theirs?.key}`, 'x'.repeat(theirs?.size ?? 0))
    const again = await upload({ target: 'clawdinator-1', identities: true })
    expect(again.bundles[0]).to.include({ outcome: 'created', copied: 0, sent: 7 })
    await upload()
    await verify()
  })

  it('refuses an identity without a KMS key, or with a foreign one', async () => {
    const before = plane.requests.length
    expect((await failureOf(upload({ identities: true, kmsKey: undefined }))).code).to.equal('NOT_CONFIGURED')
    expect(puts(before)).to.equal(0)
    const named = (await manifest('clawdinator-2'))?.objects.find(({ kind }) => kind === 'identity')
    plane.world.buckets.get(BUCKET)?.delete(`bootstrap/clawdinator-2/${named?.key}`)
    expect((await failureOf(upload())).message).to.equal(
      'The identity of clawdinator-2 no longer exists in its bundle.',
    )
    const foreign = await failureOf(
      upload({ identities: true, kmsKey: KMS_KEY.replace('000000000000', '999999999999') }),
    )
    expect(foreign).to.include({ code: 'DENIED' })
    expect(foreign.message).to.include('KMS')
    expect(foreign.hint).to.include('kms:GenerateDataKey').and.include('the upload again')
    expect(JSON.stringify([foreign, foreign.partial, foreign.details])).not.to.include('AGE-SECRET-KEY')
    await upload({ identities: true })
    await verify()
  })

  it('plans without an upload in a dry run', async () => {
    await secrets.put('anthropic-api-key', IDS)
    const before = plane.requests.length
    const { bundles, dryRun } = await upload({ dryRun: true })
    expect(dryRun).to.equal(true)
    expect(bundles[0]).to.deep.include({ outcome: 'replaced', changed: ['secrets/anthropic-api-key.age'] })
    expect(puts(before)).to.equal(0)
    await upload()
  })

  it('refuses an unknown instance, and a missing bucket', async () => {
    expect((await failureOf(upload({ target: 'clawdinator-3' }))).code).to.equal('UNKNOWN_TARGET')
    expect((await failureOf(upload({ target: '../x' }))).code).to.equal('INVALID_TARGET')
    const nowhere = createBundleStore({ region: REGION, bucket: 'nowhere', folder: () => secrets.folder })
    expect((await failureOf(upload({ store: nowhere }))).code).to.equal('NOT_CONFIGURED')
  })

  describe('damage after an upload', () => {
    const entries = parseRegistry(REGISTRY_TEXT, 'x')
    const gate = () => checkBundles(store, entries, entries)
    const digestOf = (text: string) =>
      Buffer.from(createHash('sha256').update(text).digest('hex'), 'hex').toString('base64')
    type Row = [what: string, file: string, damage: (key: string, size: number) => unknown, says: RegExp]
    const put = (key: string, body: string) =>
      plane.world.putObject(BUCKET, key, body, { checksums: [['sha256', digestOf(body)]] })
    const table: Row[] = [
      [
        'a secret with other bytes',
        'secrets/openai-api-key.age',
        (key, size) => put(key, 'x'.repeat(size)),
        /has another SHA-256/,
      ],
      [
        'an archive without a digest',
        'repos/clawdinators.tar.gz',
        (key, size) => plane.world.putObject(BUCKET, key, 'x'.repeat(size)),
        /has another SHA-256/,
      ],
      [
        'a foreign token below the prefix',
        'repos/clawdinators.tar.gz',
        () => put('bootstrap/clawdinator-1/secrets/token-clawdinator-2.age', 'x'),
        /holds a secret of clawdinator-2/,
      ],
    ]
    for (const [what, file, damage, says] of table) {
      it(`is detected by the deploy gate and by verify: ${what}`, async () => {
        await gate()
        const object = (await manifest('clawdinator-1'))?.objects.find((one) => one.file === file)
        damage(`bootstrap/clawdinator-1/${object?.key}`, object?.size ?? 0)
        for (const check of [gate, () => verify()]) {
          const failure = await failureOf(check())
          expect(failure.code).to.equal('BUNDLE_INCOMPLETE')
          expect(`${failure.message} ${failure.details.join(' ')}`).to.match(says)
        }
        // And an upload repairs it, whatever it is.
        await upload()
        expect((await verify()).bundles.map(({ unnamed }) => unnamed)).to.deep.equal([0, 0])
      })
    }

    it("is detected if another instance's token has an unrelated name below the prefix", async () => {
      const theirs = (await manifest('clawdinator-2'))?.objects.find(({ name }) => name === 'token-clawdinator-2')
      const bytes = (await store.read(`bootstrap/clawdinator-2/${theirs?.key}`, true))?.bytes ?? new Uint8Array()
      plane.world.putObject(BUCKET, 'bootstrap/clawdinator-1/notes.txt', Buffer.from(bytes))
      for (const check of [gate, () => verify()]) {
        const { message, details } = await failureOf(check())
        expect(`${message} ${details.join(' ')}`).to.match(/clawdinator-1: notes\.txt holds a secret of clawdinator-2/)
      }
      await upload()
      await verify()
    })

    it("is detected if the token's content is another instance's", async () => {
      const theirs = (await manifest('clawdinator-2'))?.objects.find(({ name }) => name === 'token-clawdinator-2')
      const ours = await store.get('bootstrap/clawdinator-1/config.json')
      const bytes = (await store.read(`bootstrap/clawdinator-2/${theirs?.key}`, true))?.bytes ?? new Uint8Array()
      const object = (await manifest('clawdinator-1'))?.objects.find(({ name }) => name === 'anthropic-api-key')
      const swapped = JSON.parse(ours?.text ?? '{}')
      for (const one of swapped.objects) {
        if (one.name === 'anthropic-api-key') Object.assign(one, { size: theirs?.size, sha256: theirs?.sha256 })
      }
      await store.send(`bootstrap/clawdinator-1/${object?.key}`, { bytes }, { sha256: theirs?.sha256 ?? '' })
      await store.putIf('bootstrap/clawdinator-1/config.json', JSON.stringify(swapped), ours?.etag ?? null)
      const failure = await failureOf(gate())
      expect(failure.message).to.match(/clawdinator-1: secrets\/anthropic\S+ holds a secret of clawdinator-2/)
    })
  })
})
