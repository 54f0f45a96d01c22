import { isOver } from '../deploy/run.js'
import {
  byNewest,
  type CatalogImage,
  type CatalogSnapshot,
  type Inventory,
  isReady,
  newestReady,
  rollbackTargets,
} from './inventory.js'
import { DIGEST_TAG, MANIFEST_PREFIX, parseImageKey, SOURCE_TAG, shortDigest, zerosKey } from './names.js'

export interface PrunePolicy {
  /** How many of the newest AMIs are kept, whatever their age. */
  keep: number
  /** Minimum age of what is removed. */
  olderThanMs: number
  now: Date
}

/** Why something is kept: the first reason that applies. */
export type KeepReason =
  | { code: 'latest' }
  | { code: 'in-use'; by: string[] }
  | { code: 'in-state' }
  | { code: 'rollback'; of: string[] }
  | { code: 'deploying' }
  | { code: 'newest'; keep: number }
  | { code: 'young' }
  | { code: 'image'; id: string }
  | { code: 'importing' }
  | { code: 'zeros' }
  | { code: 'foreign' }

/** Why something is removed. */
export type RemoveReason = 'old' | 'of-removed-image' | 'no-image' | 'unfinished'

export type Verdict<T> = { item: T; keep: KeepReason } | { item: T; remove: RemoveReason }

export interface PrunePlan {
  images: Verdict<CatalogImage>[]
  snapshots: Verdict<CatalogSnapshot>[]
  objects: Verdict<Inventory['objects'][number]>[]
  uploads: Verdict<Inventory['uploads'][number]>[]
}

/** How long an unfinished upload or import may still be resumed. */
const ABANDONED_MS = 24 * 3600_000
/** The longest that EBS waits for the next block of a pending snapshot: 4320 minutes. */
const PENDING_MS = 4320 * 60_000

/**
 * Decides what to remove and what to keep: first by reference, then by number and age. Keeps everything that may be
 * in use.
 */
export function planPrune(inventory: Inventory, policy: PrunePolicy): PrunePlan {
  const images = judgeImages(inventory, policy)
  const kept = images.flatMap((verdict) => ('keep' in verdict ? [verdict.item] : []))
  const snapshots = judgeSnapshots(inventory, kept, policy)
  const keptSnapshots = snapshots.flatMap((verdict) => ('keep' in verdict ? [verdict.item] : []))
  const objects = inventory.objects.map((item) => judgeObject(item, { inventory, kept, keptSnapshots, policy }))
  const uploads = inventory.uploads.map(
    (item): Verdict<typeof item> =>
      isOlder(item.startedAt, ABANDONED_MS, policy)
        ? { item, remove: 'unfinished' }
        : { item, keep: { code: 'young' } },
  )
  return { images, snapshots, objects, uploads }
}

function judgeImages(inventory: Inventory, policy: PrunePolicy): Verdict<CatalogImage>[] {
  const latest = newestReady(inventory.images)
  const newest = new Set(inventory.images.filter(isReady).sort(byNewest).slice(0, policy.keep))
  const targets = [...rollbackTargets(inventory)]
  const deploying = new Set(inventory.deploys.filter((deploy) => !isOver(deploy)).flatMap(imagesOfDeploy))
  return [...inventory.images].sort(byNewest).map((item) => {
    const by = inventory.machines.filter((machine) => machine.imageId === item.id)
    const of = targets.flatMap(([host, ami]) => (ami === item.id ? [host] : []))
    const named = inventory.named.has(item.id) || (item.snapshotId !== null && inventory.named.has(item.snapshotId))
    const keep = (reason: KeepReason): Verdict<CatalogImage> => ({ item, keep: reason })
    if (item.id === latest?.id) return keep({ code: 'latest' })
    if (by.length > 0) return keep({ code: 'in-use', by: by.map(({ hostId, instanceId }) => hostId ?? instanceId) })
    if (named) return keep({ code: 'in-state' })
    if (of.length > 0) return keep({ code: 'rollback', of })
    if (deploying.has(item.id)) return keep({ code: 'deploying' })
    if (newest.has(item)) return keep({ code: 'newest', keep: policy.keep })
    if (!isOlder(item.createdAt, policy.olderThanMs, policy)) return keep({ code: 'young' })
    return { item, remove: 'old' }
  })
}

function imagesOfDeploy({ ami, amiOverride, hosts }: Inventory['deploys'][number]): (string | null)[] {
  return [ami, amiOverride, ...hosts.flatMap((host) => [host.ami, host.previousAmi])]
}

function judgeSnapshots(
  inventory: Inventory,
  kept: readonly CatalogImage[],
  policy: PrunePolicy,
): Verdict<CatalogSnapshot>[] {
  return inventory.snapshots.map((item) => {
    const holder = kept.find((image) => image.snapshotId === item.id)
    if (holder) return { item, keep: { code: 'image', id: holder.id } }
    if (inventory.named.has(item.id)) return { item, keep: { code: 'in-state' } }
    if (inventory.images.some((image) => image.snapshotId === item.id)) return { item, remove: 'of-removed-image' }
    // Only images made by clawctl have a digest; others may have the fleet's tag.
    if (item.tags.app !== 'clawdinator' || !item.tags[DIGEST_TAG]) return { item, keep: { code: 'foreign' } }
    const limit = item.state === 'pending' ? PENDING_MS : ABANDONED_MS
    return isOlder(item.startedAt, limit, policy)
      ? { item, remove: item.state === 'completed' ? 'no-image' : 'unfinished' }
      : { item, keep: { code: 'young' } }
  })
}

function judgeObject(
  item: Inventory['objects'][number],
  known: { inventory: Inventory; kept: CatalogImage[]; keptSnapshots: CatalogSnapshot[]; policy: PrunePolicy },
): Verdict<Inventory['objects'][number]> {
  const { inventory, kept, keptSnapshots, policy } = known
  if (item.key.startsWith(MANIFEST_PREFIX)) {
    const digest = /([0-9a-f]{64})\.blocks$/.exec(item.key)?.[1]
    if (digest === undefined) return { item, keep: { code: 'foreign' } }
    const holder = [...kept, ...keptSnapshots].find(({ tags }) => tags[DIGEST_TAG] === digest)
    if (holder) return { item, keep: { code: 'image', id: holder.id } }
    if (inventory.images.some(({ tags }) => tags[DIGEST_TAG] === digest)) return { item, remove: 'of-removed-image' }
    return isOlder(item.modifiedAt, ABANDONED_MS, policy)
      ? { item, remove: 'no-image' }
      : { item, keep: { code: 'young' } }
  }
  if (item.key === zerosKey(item.bytes)) return { item, keep: { code: 'zeros' } }
  const parsed = parseImageKey(item.key)
  if (!parsed) return { item, keep: { code: 'foreign' } }
  if (inventory.importing.has(item.key)) return { item, keep: { code: 'importing' } }
  const holder = kept.find(
    ({ tags }) => tags[SOURCE_TAG] === item.key || shortDigest(tags[DIGEST_TAG] ?? '') === parsed.digest12,
  )
  if (holder) return { item, keep: { code: 'image', id: holder.id } }
  return isOlder(item.modifiedAt, policy.olderThanMs, policy)
    ? { item, remove: 'no-image' }
    : { item, keep: { code: 'young' } }
}

/** Without a date, it does not count as old. */
function isOlder(date: Date, ms: number, { now }: PrunePolicy): boolean {
  return now.getTime() - date.getTime() > ms
}

/** Everything that a plan removes. */
export function removalsOf(plan: PrunePlan) {
  const removedOf = <T>(verdicts: readonly Verdict<T>[]) => verdicts.flatMap((v) => ('remove' in v ? [v.item] : []))
  return {
    images: removedOf(plan.images),
    snapshots: removedOf(plan.snapshots),
    objects: removedOf(plan.objects),
    uploads: removedOf(plan.uploads),
  }
}
export type Removals = ReturnType<typeof removalsOf>

/** What both plans remove: an item may have come into use between the confirmation and the removal. */
export function stillGoing(asked: Removals, now: Removals): Removals {
  const both = <T>(a: readonly T[], b: readonly T[], id: (item: T) => string) => {
    const ids = new Set(b.map(id))
    return a.filter((item) => ids.has(id(item)))
  }
  return {
    images: both(asked.images, now.images, ({ id }) => id),
    snapshots: both(asked.snapshots, now.snapshots, ({ id }) => id),
    objects: both(asked.objects, now.objects, ({ key }) => key),
    uploads: both(asked.uploads, now.uploads, ({ uploadId }) => uploadId),
  }
}

/** Bytes of objects, and the most that the snapshots hold. */
export function sizeOfRemovals({ objects, snapshots }: Removals): { objectBytes: number; snapshotGib: number } {
  return {
    objectBytes: objects.reduce((sum, { bytes }) => sum + bytes, 0),
    snapshotGib: snapshots.reduce((sum, { sizeGib }) => sum + sizeGib, 0),
  }
}
