import pMap from 'p-map'
import { identityObjectOf, manifestKey, parseManifest } from '../../domain/bundles/manifest.js'
import type { StoredBundle } from '../../domain/bundles/plan.js'
import type { BundleManifest, BundleObject } from '../../domain/contract/index.js'
import { asClawctlError } from '../../domain/errors.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import type { BundleReader, BundleStore, Identities, Identity } from './ports.js'

const HEADS_AT_ONCE = 4
const MANIFESTS_AT_ONCE = 8

/** The objects below an instance's prefix, before anything is uploaded. */
export async function readPrefix(
  store: BundleStore,
  entry: RegistryEntry,
): Promise<{ etag: string | null; stored: StoredBundle }> {
  // Read the manifest before the listing: an upload that removes objects in between also replaces the manifest, so our
  // write is refused.
  const manifest = await store.get(manifestKey(entry))
  const objects = await store.list(`${entry.bootstrapPrefix}/`)
  const text = manifest?.text ?? null
  const damaged = await damagedObjects(store, entry, text, objects)
  return { etag: manifest?.etag ?? null, stored: { manifest: text, objects, damaged } }
}

/** Objects that were overwritten: S3's digest differs from the manifest's, or is missing. */
async function damagedObjects(
  store: BundleStore,
  entry: RegistryEntry,
  manifest: string | null,
  listed: StoredBundle['objects'],
): Promise<Set<string>> {
  const sizes = new Map(listed.map(({ key, size }) => [key, size]))
  const named = (parseManifest(manifest)?.objects ?? []).map((object) => ({
    ...object,
    key: `${entry.bootstrapPrefix}/${object.key}`,
  }))
  const damaged = new Set<string>()
  await pMap(
    named.filter(({ key, size }) => sizes.get(key) === size),
    async ({ key, kind, sha256 }) => {
      const head = await store.head(key, true)
      const sealed = kind !== 'identity' || (head?.encryption ?? '').startsWith('aws:kms')
      if (head?.sha256 !== sha256 || !sealed) damaged.add(key)
    },
    { concurrency: HEADS_AT_ONCE },
  )
  return damaged
}

/** The bundle's identity; null if it has none, or, with a reason, if it can't be read. */
export async function storedIdentity(
  store: BundleReader,
  entry: RegistryEntry,
  manifest: BundleManifest | null,
  parse: Identities['parse'],
): Promise<{ identity: Identity | null; why: string | null }> {
  const object = manifest && identityObjectOf(manifest)
  if (!object) return { identity: null, why: null }
  try {
    const read = await store.read(`${entry.bootstrapPrefix}/${object.key}`, true)
    if (!read?.bytes || read.sha256 !== object.sha256) return { identity: null, why: 'its content has changed' }
    return { identity: await parse(read.bytes, `in the bundle of ${entry.id}`), why: null }
  } catch (error) {
    const { code, message } = asClawctlError(error)
    if (code !== 'DENIED' && code !== 'INVALID_SECRETS') throw error
    return { identity: null, why: message.replace(/\.$/, '') }
  }
}

/** The archive of a repository in some bundle, by its whole key. */
export interface StoredRepo {
  object: Extract<BundleObject, { kind: 'repo' }>
  key: string
}

const reposOf = (entry: RegistryEntry, manifest: string | null): StoredRepo[] =>
  (parseManifest(manifest)?.objects ?? []).flatMap((object) =>
    object.kind === 'repo' ? [{ object, key: `${entry.bootstrapPrefix}/${object.key}` }] : [],
  )

/** The archives of the bundles that were read. */
export function storedRepos(looked: readonly { entry: RegistryEntry; stored: StoredBundle }[]): StoredRepo[] {
  return looked.flatMap(({ entry, stored }) => {
    const sizes = new Map(stored.objects.map(({ key, size }) => [key, size]))
    return reposOf(entry, stored.manifest).filter(
      ({ object, key }) => sizes.get(key) === object.size && !stored.damaged?.has(key),
    )
  })
}

/** The archives of bundles that are not uploaded now, so that they need not be packed again. */
export async function reposElsewhere(store: BundleStore, entries: readonly RegistryEntry[]): Promise<StoredRepo[]> {
  const found = await pMap(
    entries,
    async (entry) => reposOf(entry, (await store.get(manifestKey(entry)))?.text ?? null),
    { concurrency: MANIFESTS_AT_ONCE },
  )
  // Most bundles hold the same archives: one of each is enough.
  const each = [...new Map(found.flat().map((repo) => [repo.object.sha256, repo])).values()]
  const sound = await pMap(
    each,
    async ({ object, key }) => {
      const head = await store.head(key, true)
      return head?.sha256 === object.sha256 && head.size === object.size
    },
    { concurrency: HEADS_AT_ONCE },
  )
  return each.filter((_, index) => sound[index])
}
