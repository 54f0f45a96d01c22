import pMap from 'p-map'
import { manifestKey } from '../../domain/bundles/manifest.js'
import { type BundlePlan, manifestText, planBundle, type StoredBundle } from '../../domain/bundles/plan.js'
import type { BundleObject } from '../../domain/contract/index.js'
import { targetIds } from '../../domain/deploy/policy.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import type { Clock, Progress, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { type Gathered, gatherSecrets, knownIdentities, refuse, testDecryption, wantedObjects } from './gather.js'
import { readPrefix, reposElsewhere, type StoredRepo, storedRepos } from './look.js'
import type { BundleStore, Content, Identities, SecretsFolder, Seeds } from './ports.js'
import { type ReadySeed, readySeeds } from './seeds.js'

export interface UploadRequest {
  /** `all` or an instance id. */
  target: string
  /** Names of more shared secrets. */
  extra: readonly string[]
  /** KMS key for the identities; undefined if none is configured. */
  kmsKey: string | undefined
  dryRun: boolean
  /** Commit of the checkout, and the uploader. */
  revision: string | null
  by: string
}

export interface UploadPorts {
  registry: RegistrySource
  store: BundleStore
  secrets: SecretsFolder
  identities: Identities
  seeds: Seeds
  clock: Clock
  progress: Progress
}

export interface UploadedBundle {
  id: string
  outcome: 'created' | 'replaced' | 'unchanged' | 'conflict' | 'failed'
  generation: number
  objects: number
  /** Objects sent, copied within the bucket, and already there. */
  sent: number
  sentBytes: number
  copied: number
  kept: number
  /** Files that were or will be sent or copied. */
  changed: string[]
  removed: number
  error: string | null
}

export interface UploadResult {
  dryRun: boolean
  bundles: UploadedBundle[]
  /** Files in the secrets directory that no instance needs. */
  strays: string[]
  notes: string[]
}

/** Concurrent bundles, and concurrent objects of each: round trips limit the speed here, not bytes. */
const BUNDLES_AT_ONCE = 6
const OBJECTS_AT_ONCE = 4

interface Item {
  plan: BundlePlan
  etag: string | null
  stored: StoredBundle
}

/**
 * Makes the bundles of the target and uploads what changed: objects first, each manifest last. Then removes objects that no
 * manifest names. Nothing is sent before every check has passed.
 * @throws ClawctlError INVALID_SECRETS, UNKNOWN_TARGET, UPSTREAM (a repository, S3), BUNDLE_CONFLICT; the outcome of each
 * bundle is in `partial.upload`
 */
export async function uploadBundles(request: UploadRequest, ports: UploadPorts): Promise<UploadResult> {
  const { progress, store } = ports
  const registry = await readRegistry(ports.registry)
  const ids = targetIds(request.target, registry)
  const gathered = await progress.task('read the secrets', () =>
    gatherSecrets({ registry, ids, extra: request.extra }, ports),
  )
  if (gathered.given.size > 0 && !request.kmsKey) throw noKmsKey()
  const seedSources = await ports.seeds.list()
  const { looked, elsewhere } = await progress.task('read the bundles', async () => {
    const at = async ({ entry }: { entry: RegistryEntry }) => ({ entry, ...(await readPrefix(store, entry)) })
    return {
      looked: await pMap(gathered.assemblies, at, { concurrency: 8 }),
      elsewhere: await reposElsewhere(
        store,
        registry.filter(({ id }) => !ids.includes(id)),
      ),
    }
  })
  const known = await progress.task('test-decrypt the secrets', () => knownIdentities(gathered, looked, ports))
  const tested = await testDecryption(gathered.assemblies, gathered.files, registry, known.identities)
  refuse([...known.problems, ...tested.problems])
  const seeds = await progress.task(`pack ${seedSources.length} repositories`, (say) =>
    readySeeds(seedSources, [...storedRepos(looked), ...elsewhere], say),
  )
  const items = looked.map(({ entry, etag, stored }): Item => {
    const plan = planBundle(entry, wantedObjects(entry, gathered, known.identities, tested, seeds), stored)
    refuseLostIdentity(plan, gathered)
    return { plan, etag, stored }
  })
  const notes = [...known.notes, ...untestedNotes(items)]
  for (const note of notes) progress.note(note)
  const { strays } = gathered.folder
  if (request.dryRun) {
    return { dryRun: true, bundles: items.map(({ plan }) => planned(plan)), strays, notes }
  }
  const upload = new Upload(request, ports, gathered, seeds, items, elsewhere)
  const bundles = await progress.task('upload what changed', (say) =>
    pMap(items, (item) => upload.bundle(item, say), { concurrency: BUNDLES_AT_ONCE }),
  )
  const result: UploadResult = { dryRun: false, bundles, strays, notes }
  upload.throwIfFailed(result)
  return result
}

function untestedNotes(items: readonly Item[]): string[] {
  return items.flatMap(({ plan }) => {
    const untested = plan.objects.filter((object) => object.kind === 'secret' && !object.openedBy).length
    return untested > 0 ? [`${plan.entry.id}: ${untested} secrets are untested: they were not decrypted.`] : []
  })
}

function planned(plan: BundlePlan): UploadedBundle {
  return {
    id: plan.entry.id,
    outcome: plan.action === 'create' ? 'created' : plan.action === 'replace' ? 'replaced' : 'unchanged',
    generation: plan.generation,
    objects: plan.objects.length,
    sent: 0,
    sentBytes: 0,
    copied: 0,
    kept: plan.objects.length - plan.missing.length,
    changed: plan.missing.map(({ file }) => file),
    removed: 0,
    error: null,
  }
}

/** A running upload: content that several bundles share is sent once and copied within the bucket. */
class Upload {
  readonly #request: UploadRequest
  readonly #ports: UploadPorts
  readonly #gathered: Gathered
  readonly #seeds: ReadonlyMap<string, ReadySeed>
  /** Digest of an archive → full key of an object with it. */
  readonly #sources = new Map<string, Promise<string>>()
  #failure: ClawctlError | null = null
  #conflicts: string[] = []

  constructor(
    request: UploadRequest,
    ports: UploadPorts,
    gathered: Gathered,
    seeds: readonly ReadySeed[],
    items: readonly Item[],
    elsewhere: readonly StoredRepo[],
  ) {
    this.#request = request
    this.#ports = ports
    this.#gathered = gathered
    this.#seeds = new Map(seeds.map((seed) => [seed.name, seed]))
    for (const { object, key } of elsewhere) this.#sources.set(object.sha256, Promise.resolve(key))
    for (const { plan } of items) {
      for (const object of plan.objects) {
        if (object.kind !== 'repo' || plan.missing.includes(object)) continue
        this.#sources.set(object.sha256, Promise.resolve(`${plan.entry.bootstrapPrefix}/${object.key}`))
      }
    }
  }

  async bundle(item: Item, say: (text: string) => void): Promise<UploadedBundle> {
    const { plan } = item
    const report = planned(plan)
    try {
      if (plan.action !== 'unchanged') {
        await pMap(plan.missing, (object) => this.#place(item, object, report), { concurrency: OBJECTS_AT_ONCE })
        const made = { revision: this.#request.revision, by: this.#request.by, at: this.#ports.clock.now() }
        const won = await this.#ports.store.putIf(manifestKey(plan.entry), manifestText(plan, made), item.etag)
        if (!won) {
          this.#conflicts.push(plan.entry.id)
          return { ...report, outcome: 'conflict', error: 'another upload replaced the bundle meanwhile' }
        }
      }
      say(`${plan.entry.id}: ${report.outcome}`)
      return { ...report, removed: await this.#removeGarbage(plan) }
    } catch (error) {
      const failure = asClawctlError(error)
      this.#failure ??= failure
      return { ...report, outcome: 'failed', error: failure.message }
    }
  }

  /** A failure here does not affect the bundle: the next upload removes the rest. */
  async #removeGarbage(plan: BundlePlan): Promise<number> {
    if (plan.garbage.length === 0) return 0
    try {
      await this.#ports.store.remove(plan.garbage)
      return plan.garbage.length
    } catch (error) {
      this.#ports.progress.note(
        `${plan.entry.id}: ${plan.garbage.length} old objects stay until the next upload: ${asClawctlError(error).message}`,
      )
      return 0
    }
  }

  async #place({ plan, stored }: Item, object: BundleObject, report: UploadedBundle): Promise<void> {
    const key = `${plan.entry.bootstrapPrefix}/${object.key}`
    if (await this.#isThere(key, object, stored)) {
      report.kept += 1
      return
    }
    const send = async () => {
      const kmsKey = object.kind === 'identity' ? this.#request.kmsKey : undefined
      await this.#ports.store.send(key, await this.#contentOf(plan.entry.id, object), { sha256: object.sha256, kmsKey })
      report.sent += 1
      report.sentBytes += object.size
      return key
    }
    if (object.kind !== 'repo') {
      await send()
      return
    }
    const source = this.#sources.get(object.sha256)
    if (source === undefined) {
      const sending = send()
      this.#sources.set(object.sha256, sending)
      await sending
      return
    }
    // The source may belong to a bundle that was just replaced.
    if (await this.#ports.store.copy(await source, key, object.sha256)) report.copied += 1
    else await send()
  }

  /** Whether a killed upload of the same generation left this object. */
  async #isThere(key: string, object: BundleObject, stored: StoredBundle): Promise<boolean> {
    if (!stored.objects.some((one) => one.key === key && one.size === object.size)) return false
    const found = await this.#ports.store.head(key, true)
    if (found?.sha256 !== object.sha256 || found.size !== object.size) return false
    return object.kind !== 'identity' || (found.encryption ?? '').startsWith('aws:kms')
  }

  async #contentOf(id: string, object: BundleObject): Promise<Content> {
    if (object.kind === 'repo') {
      const packed = await this.#seeds.get(object.name)?.pack()
      if (packed?.sha256 === object.sha256) return { file: packed.file, size: packed.size }
      throw new ClawctlError('UPSTREAM', `${object.name} changed to another commit during the upload.`, {
        hint: 'Run the upload again.',
      })
    }
    const content = object.kind === 'identity' ? this.#gathered.given.get(id) : this.#gathered.files.get(object.name)
    if (!content) throw new Error(`there is no content for ${object.name}`)
    return { bytes: content.bytes }
  }

  /** @throws ClawctlError the first failure, else BUNDLE_CONFLICT, with the outcome of each bundle */
  throwIfFailed(upload: UploadResult): void {
    const bad = upload.bundles.filter(({ outcome }) => outcome === 'failed' || outcome === 'conflict')
    if (bad.length === 0) return
    const options = {
      details: bad.map(({ id, error }) => `${id}: ${error}`),
      partial: { upload },
    }
    if (this.#failure) {
      const { code, message, hint } = this.#failure
      throw new ClawctlError(code, message, {
        ...options,
        hint: `${hint ? `${hint} Then run` : 'Run'} the upload again: objects that exist already are not sent again. Until then, hosts use the old bundles.`,
        cause: this.#failure,
      })
    }
    throw new ClawctlError(
      'BUNDLE_CONFLICT',
      `Another upload replaced the bundle of ${this.#conflicts.join(', ')} meanwhile; that bundle is in place.`,
      { ...options, hint: 'Run the upload again if yours is the newer one.' },
    )
  }
}

function noKmsKey(): ClawctlError {
  return new ClawctlError(
    'NOT_CONFIGURED',
    'An identity is uploaded only encrypted with a KMS key, but no key is configured.',
    {
      hint: 'Set FLEET_KMS_KEY_ARN or pass --kms-key. Without --identities-dir and --identity, no identity is uploaded.',
    },
  )
}

/** The bundle in place names an identity whose object is missing, and no identity was given. */
function refuseLostIdentity(plan: BundlePlan, gathered: Gathered): void {
  const lost = plan.missing.some(({ kind }) => kind === 'identity') && !gathered.given.has(plan.entry.id)
  if (!lost) return
  throw new ClawctlError('INVALID_SECRETS', `The identity of ${plan.entry.id} no longer exists in its bundle.`, {
    hint: `Pass it with --identities-dir (a file ${plan.entry.id}.key). Nothing was uploaded.`,
  })
}
