import {
  byNewest,
  type Inventory,
  isReady,
  latestOf,
  revisionOfImage,
  rollbackTargets,
} from '../../domain/images/inventory.js'
import { DIGEST_TAG, SOURCE_TAG } from '../../domain/images/names.js'
import { type CatalogPorts, takeInventory } from './catalog.js'

export interface ListedImage {
  id: string
  name: string
  state: string
  createdAt: string | null
  revision: string | null
  digest: string | null
  sourceKey: string | null
  snapshotId: string | null
  sizeGib: number | null
  /** A deploy may take it. */
  ready: boolean
  /** What a deploy without an AMI takes. */
  latest: boolean
  /** Host ids, or instance ids of what is no host. */
  usedBy: string[]
  /** Hosts that would go back to it. */
  rollbackOf: string[]
  /** The OpenTofu state names it. */
  inState: boolean
}

/** The fleet's AMIs, newest first. */
export async function listImages(ports: CatalogPorts): Promise<ListedImage[]> {
  return describeImages(await takeInventory(ports))
}

export function describeImages(inventory: Inventory): ListedImage[] {
  const latest = latestOf(inventory.images)
  const targets = [...rollbackTargets(inventory)]
  return [...inventory.images].sort(byNewest).map((image) => ({
    id: image.id,
    name: image.name,
    state: image.state,
    createdAt: image.createdAt.toJSON(),
    revision: revisionOfImage(image),
    digest: image.tags[DIGEST_TAG] ?? null,
    sourceKey: image.tags[SOURCE_TAG] ?? null,
    snapshotId: image.snapshotId,
    sizeGib: image.sizeGib,
    ready: isReady(image),
    latest: image.id === latest?.id,
    usedBy: inventory.machines
      .filter((machine) => machine.imageId === image.id)
      .map(({ hostId, instanceId }) => hostId ?? instanceId)
      .sort(),
    rollbackOf: targets.flatMap(([host, ami]) => (ami === image.id ? [host] : [])).sort(),
    inState: inventory.named.has(image.id),
  }))
}
