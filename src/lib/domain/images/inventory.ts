import type { DeployRecord } from '../contract/stored.js'
import { amiBefore, entriesOf } from '../deploy/rollback.js'
import { READY_TAG } from './names.js'

/** All images, snapshots, objects and uploads in an account, and the references to them. */
export interface Inventory {
  images: CatalogImage[]
  snapshots: CatalogSnapshot[]
  /** Below `images/`: images and manifests. */
  objects: { key: string; bytes: number; modifiedAt: Date }[]
  /** Unfinished multipart uploads below `images/`. */
  uploads: { key: string; uploadId: string; startedAt: Date }[]
  /** All machines of the account that are not terminated. */
  machines: { instanceId: string; hostId: string | null; imageId: string; launchedAt: Date | null }[]
  /** AMI and snapshot ids anywhere in the OpenTofu state. */
  named: ReadonlySet<string>
  /** Newest first. */
  deploys: Pick<DeployRecord, 'status' | 'ami' | 'amiOverride' | 'hosts' | 'createdAt'>[]
  /** Keys that a running import reads. */
  importing: ReadonlySet<string>
}

export interface CatalogImage {
  id: string
  name: string
  state: string
  /** An invalid date if EC2 gives none. */
  createdAt: Date
  snapshotId: string | null
  sizeGib: number | null
  tags: Readonly<Record<string, string>>
}

export interface CatalogSnapshot {
  id: string
  state: string
  startedAt: Date
  sizeGib: number
  tags: Readonly<Record<string, string>>
}

/** Whether a deploy may use it: available, and with the tag that an import writes last. */
export const isReady = (image: CatalogImage) => image.state === 'available' && image.tags[READY_TAG] === 'true'

export const byNewest = (a: CatalogImage, b: CatalogImage) =>
  b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1)

/** The AMI of a deploy that names none: the newest that is ready. */
export function newestReady(images: readonly CatalogImage[]): CatalogImage | null {
  return images.filter(isReady).sort(byNewest)[0] ?? null
}

export const revisionOfImage = ({ tags }: CatalogImage): string | null =>
  tags.revision ?? tags['clawdinator:revision'] ?? null

/**
 * The rollback target of each host: by the records of its deploys, the AMI that it ran before the current one.
 */
export function rollbackTargets({ machines, deploys }: Pick<Inventory, 'machines' | 'deploys'>): Map<string, string> {
  const current = new Map<string, string>()
  for (const { hostId, imageId } of [...machines].sort(byLaunch)) if (hostId !== null) current.set(hostId, imageId)
  const ids = new Set(deploys.flatMap(({ hosts }) => hosts.map(({ id }) => id)))
  const targets = [...ids].map((id) => {
    const entries = entriesOf(deploys, id)
    // Without a machine, the newest record's AMI counts as the current one.
    const now = current.get(id) ?? entries.flatMap(({ ami, previousAmi }) => ami ?? previousAmi ?? [])[0] ?? null
    return [id, amiBefore(entries, now)] as const
  })
  return new Map(targets.flatMap(([id, ami]) => (ami === null ? [] : [[id, ami]])))
}

const byLaunch = (a: { launchedAt: Date | null }, b: { launchedAt: Date | null }) =>
  (a.launchedAt?.getTime() ?? 0) - (b.launchedAt?.getTime() ?? 0)

/** Every AMI and snapshot id in a text, such as an OpenTofu state of any version. */
export function idsIn(text: string): Set<string> {
  return new Set(text.match(/\b(?:ami|snap)-[0-9a-f]{8,17}\b/g) ?? [])
}
