import type { BundleManifest, BundleObject } from '../contract/index.js'
import type { RegistryEntry } from '../registry/registry.js'
import { objectFile, objectKey, parseObjectKey } from './layout.js'
import { MANIFEST_NAME, parseManifest } from './manifest.js'

/** A wanted object, before it has a key. */
export type WantedObject = Unplaced<BundleObject>
type Unplaced<One> = One extends BundleObject ? Omit<One, 'key' | 'file'> & { file?: string } : never

export interface BundlePlan {
  entry: RegistryEntry
  /** `unchanged`: the manifest stays as it is. */
  action: 'create' | 'replace' | 'unchanged'
  generation: number
  /** All of the new manifest's objects. */
  objects: BundleObject[]
  /** The objects that the manifest in place does not have yet. */
  missing: BundleObject[]
  /** Full keys that no manifest will name again after this plan. */
  garbage: string[]
}

export interface StoredBundle {
  /** Text of config.json, or null. */
  manifest: string | null
  objects: readonly { key: string; size: number }[]
  /** Full keys whose content differs from the manifest. */
  damaged?: ReadonlySet<string>
}

/**
 * Plans the changes from the stored objects to the wanted ones. Objects of the manifest in place are kept if unchanged;
 * all others get a key of the next generation. If no identity is given, the bundle keeps its own.
 */
export function planBundle(entry: RegistryEntry, wanted: readonly WantedObject[], stored: StoredBundle): BundlePlan {
  const current = parseManifest(stored.manifest)
  const old = current?.instance.id === entry.id ? current : null
  const generation = old?.generation ?? newestGeneration(entry, stored)
  const sizes = new Map(stored.objects.map(({ key, size }) => [key, size]))
  const isThere = ({ key, size }: BundleObject) => {
    const whole = `${entry.bootstrapPrefix}/${key}`
    return sizes.get(whole) === size && !stored.damaged?.has(whole)
  }
  const identity = old?.objects.find(({ kind }) => kind === 'identity')
  const all = wanted.some(({ kind }) => kind === 'identity') || !identity ? wanted : [...wanted, identity]
  const objects = all
    .map((object) => placed(object, old, isThere, generation + 1))
    .sort((a, b) => (a.file < b.file ? -1 : 1))
  const missing = objects.filter((object) => !old?.objects.some((one) => one.key === object.key && isThere(one)))
  const unchanged = old !== null && missing.length === 0 && sameContent(old, entry, objects)
  return {
    entry,
    action: unchanged ? 'unchanged' : stored.manifest === null ? 'create' : 'replace',
    generation: unchanged ? generation : generation + 1,
    objects,
    missing,
    garbage: garbageOf(entry, stored, objects, unchanged ? generation : generation + 1),
  }
}

/** Without a manifest, a killed upload is resumed. An unreadable manifest may have named anything. */
function newestGeneration(entry: RegistryEntry, { objects, manifest }: StoredBundle): number {
  const prefix = `${entry.bootstrapPrefix}/`
  const newest = Math.max(0, ...objects.map(({ key }) => parseObjectKey(key.slice(prefix.length))?.generation ?? 0))
  return manifest === null ? Math.max(0, newest - 1) : newest
}

function placed(
  object: WantedObject,
  old: BundleManifest | null,
  isThere: (object: BundleObject) => boolean,
  generation: number,
): BundleObject {
  const file = object.file ?? objectFile(object.kind, object.name)
  const same = old?.objects.find(
    (one) => one.kind === object.kind && one.name === object.name && one.sha256 === object.sha256 && isThere(one),
  )
  const key = same?.key ?? objectKey(object.kind, object.name, generation, object.sha256)
  const next = { ...object, file, key }
  // An earlier upload tested this secret, and its content is the same, so the result still holds.
  if (next.kind !== 'secret' || next.openedBy || same?.kind !== 'secret' || !same.openedBy) return next
  return { ...next, openedBy: same.openedBy }
}

function sameContent(old: BundleManifest, entry: RegistryEntry, objects: readonly BundleObject[]): boolean {
  const fields = ['host', 'instanceType', 'bootstrapPrefix', 'discordTokenSecret'] as const
  const text = (object: BundleObject) => JSON.stringify(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
  return (
    fields.every((field) => old.instance[field] === entry[field]) &&
    JSON.stringify(old.objects.map(text).sort()) === JSON.stringify(objects.map(text).sort())
  )
}

/**
 * Objects below the prefix that the manifest does not name and no later manifest will name. A running upload writes
 * newer generations.
 */
function garbageOf(
  entry: RegistryEntry,
  stored: StoredBundle,
  objects: readonly BundleObject[],
  generation: number,
): string[] {
  const prefix = `${entry.bootstrapPrefix}/`
  const named = new Set([MANIFEST_NAME, ...objects.map(({ key }) => key)])
  return stored.objects
    .map(({ key }) => key)
    .filter((key) => key.startsWith(prefix) && !named.has(key.slice(prefix.length)))
    .filter((key) => (parseObjectKey(key.slice(prefix.length))?.generation ?? 0) <= generation)
}

export function manifestText(plan: BundlePlan, made: { revision: string | null; by: string; at: Date }): string {
  const { id, host, instanceType, bootstrapPrefix, discordTokenSecret } = plan.entry
  const manifest: BundleManifest = {
    schema: 2,
    generation: plan.generation,
    instance: { id, host, instanceType, bootstrapPrefix, discordTokenSecret },
    revision: made.revision,
    createdBy: made.by,
    createdAt: made.at.toISOString(),
    objects: plan.objects,
  }
  return `${JSON.stringify(manifest, null, 2)}\n`
}
