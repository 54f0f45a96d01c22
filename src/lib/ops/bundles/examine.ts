import pMap from 'p-map'
import { inspectAge } from '../../domain/bundles/age.js'
import {
  judgeBundle,
  manifestKey,
  type ObjectEvidence,
  parseManifest,
  secretsOfOthers,
  untestedSecrets,
} from '../../domain/bundles/manifest.js'
import type { BundleManifest, BundleObject } from '../../domain/contract/index.js'
import type { Registry, RegistryEntry } from '../../domain/registry/registry.js'
import { storedIdentity } from './look.js'
import type { BundleDownloads, BundleReader, Identities, Identity, SeedInspector } from './ports.js'

/**
 * How much to verify. `gate`: secrets are read; for the rest, S3's own SHA-256 is used. `full`: every byte is read.
 * `deep`: secrets are also decrypted, and repositories are unpacked.
 */
export type Depth =
  | { kind: 'gate' | 'full' }
  | {
      kind: 'deep'
      /** The identity given for the instance; null: the bundle's own is read. */
      identityOf(id: string): Promise<Identity | null>
      parse: Identities['parse']
      downloads: BundleDownloads
      inspector: SeedInspector
    }

export interface Examined {
  id: string
  problems: string[]
  manifest: BundleManifest | null
  /** Objects below the prefix that the manifest does not name: of a running upload, or of one that was killed. */
  unnamed: number
  /** Names of secrets that were decrypted neither now nor before the upload. */
  untested: string[]
  /** What could not be tested, and why. */
  notes: string[]
}

/** How often a bundle that is replaced meanwhile is read again. */
const ATTEMPTS = 3
const OBJECTS_AT_ONCE = 6
const MANIFESTS_AT_ONCE = 8

/** Verifies the bundles of `entries`, each against all manifests of the registry. */
export async function examineBundles(
  store: BundleReader,
  entries: readonly RegistryEntry[],
  registry: Registry,
  depth: Depth,
): Promise<Examined[]> {
  const manifests = await pMap(
    registry,
    async (entry) => parseManifest((await store.get(manifestKey(entry)))?.text ?? null),
    {
      concurrency: MANIFESTS_AT_ONCE,
    },
  )
  const others = manifests.filter((manifest) => manifest !== null)
  return pMap(entries, (entry) => examineSettled(store, entry, registry, others, depth), { concurrency: 2 })
}

/** Reads the bundle again if an upload replaced it meanwhile. */
async function examineSettled(
  store: BundleReader,
  entry: RegistryEntry,
  registry: Registry,
  others: readonly BundleManifest[],
  depth: Depth,
): Promise<Examined> {
  for (let attempt = 1; ; attempt += 1) {
    const manifest = await store.get(manifestKey(entry))
    const examined = await examineOnce(store, entry, manifest?.text ?? null, { registry, others, depth })
    if (examined.problems.length === 0 || attempt === ATTEMPTS) return examined
    const now = await store.get(manifestKey(entry))
    if (now?.etag === manifest?.etag) return examined
  }
}

async function examineOnce(
  store: BundleReader,
  entry: RegistryEntry,
  manifestText: string | null,
  context: { registry: Registry; others: readonly BundleManifest[]; depth: Depth },
): Promise<Examined> {
  const { registry, others, depth } = context
  const objects = await store.list(`${entry.bootstrapPrefix}/`)
  const manifest = parseManifest(manifestText)
  const notes: string[] = []
  const identity = depth.kind === 'deep' ? await identityFor(entry, manifest, store, depth, notes) : null
  const present = (manifest?.objects ?? []).filter(({ key, size }) =>
    objects.some((one) => one.key === `${entry.bootstrapPrefix}/${key}` && one.size === size),
  )
  const evidence = new Map(
    (
      await pMap(
        present,
        async (object) => {
          const key = `${entry.bootstrapPrefix}/${object.key}`
          return [object.key, await look(store, key, object, depth, identity)] as const
        },
        { concurrency: OBJECTS_AT_ONCE },
      )
    ).filter((pair): pair is [string, ObjectEvidence] => pair[1] !== null),
  )
  const named = new Set([
    manifestKey(entry),
    ...(manifest?.objects ?? []).map(({ key }) => `${entry.bootstrapPrefix}/${key}`),
  ])
  const unnamed = objects.filter(({ key }) => !named.has(key))
  // The host's role may read everything below its prefix. An unnamed object of the same size as another instance's
  // secret is compared with it.
  const sizes = new Set(secretsOfOthers(entry, others, registry).map(({ object }) => object.size))
  // Not in a deploy: its role can't decrypt an identity that a killed upload may have left.
  const readable = unnamed.filter(({ key }) => depth.kind !== 'gate' || !key.endsWith('.key'))
  await pMap(
    readable.filter(({ size }) => sizes.has(size)),
    async ({ key }) => {
      const read = await store.read(key, false)
      if (read) evidence.set(key.slice(entry.bootstrapPrefix.length + 1), { sha256: read.sha256 })
    },
    { concurrency: OBJECTS_AT_ONCE },
  )
  const gone = present.filter(({ key }) => !evidence.has(key)).map(({ key }) => `${entry.bootstrapPrefix}/${key}`)
  const view = { manifest: manifestText, objects: objects.filter(({ key }) => !gone.includes(key)), evidence, others }
  return {
    id: entry.id,
    problems: judgeBundle(entry, view, registry),
    manifest,
    unnamed: unnamed.length,
    untested: manifest && !identity ? untestedSecrets(manifest) : [],
    notes: [...new Set(notes)],
  }
}

/** Null if the object was removed since it was listed. */
async function look(
  store: BundleReader,
  key: string,
  object: BundleObject,
  depth: Depth,
  identity: Identity | null,
): Promise<ObjectEvidence | null> {
  if (depth.kind === 'gate' && object.kind !== 'secret') {
    const head = await store.head(key, object.kind === 'repo')
    if (!head) return null
    if (object.kind === 'identity') return { encryption: head.encryption }
    // S3 has no digest of objects that clawctl did not write.
    if (head.sha256 !== null) return { sha256: head.sha256 }
  }
  const read = await store.read(key, object.kind === 'secret')
  if (!read) return null
  const { sha256, encryption, bytes } = read
  if (object.kind === 'secret') {
    const form = bytes ? inspectAge(bytes) : null
    const age = form === null ? 'is too large for a secret' : form.ok ? null : form.problem
    const opened = bytes && form?.ok && identity ? await identity.open(bytes) : null
    const problems = opened?.outcome === 'failed' ? [`${opened.why}: the instance's identity does not open it`] : []
    return { sha256, encryption, age, problems }
  }
  if (object.kind === 'repo' && depth.kind === 'deep' && sha256 === object.sha256) {
    const archive = await depth.downloads.download(key)
    try {
      return { sha256, encryption, problems: await depth.inspector.inspect(archive.file, object.name, object.commit) }
    } finally {
      await archive.remove()
    }
  }
  return { sha256, encryption }
}

/** The identity to decrypt with; null, with a note, if the bundle's own can't be read. */
async function identityFor(
  entry: RegistryEntry,
  manifest: BundleManifest | null,
  store: BundleReader,
  depth: Extract<Depth, { kind: 'deep' }>,
  notes: string[],
): Promise<Identity | null> {
  const given = await depth.identityOf(entry.id)
  if (given) return given
  const { identity, why } = await storedIdentity(store, entry, manifest, depth.parse)
  if (why) notes.push(`${entry.id}: the secrets were not decrypted: ${why}.`)
  return identity
}
