import pMap from 'p-map'
import { type DeployRecord, deployRecordSchema } from '../../domain/contract/stored.js'
import { FAILED_TAG } from '../../domain/deploy/image.js'
import { INDEX_PREFIX, RECORD_PREFIX } from '../../domain/deploy/run.js'
import {
  byNewest,
  type CatalogImage,
  type Inventory,
  idsIn,
  isReady,
  newestReady,
  revisionOfImage,
  rollbackTargets,
} from '../../domain/images/inventory.js'
import { DIGEST_TAG, IMAGE_PREFIX, READY_TAG, SOURCE_TAG } from '../../domain/images/names.js'
import { parseAs } from '../../domain/json.js'
import { FLEET_STATE_KEY } from '../../domain/paths.js'
import type { ImageObjects, Images, RegisteredImage, Snapshots } from './ports.js'

export interface AccountMachines {
  /** Every instance of the account that is not terminated, whatever its tags. */
  list(): Promise<Inventory['machines']>
}

export interface CatalogPorts {
  images: Pick<Images, 'find' | 'tag' | 'deregister'>
  snapshots: Pick<Snapshots, 'find' | 'describe' | 'delete' | 'importTasks'>
  objects: Pick<ImageObjects, 'bucket' | 'list' | 'get' | 'delete' | 'openUploads' | 'abortUpload'>
  machines: AccountMachines
}

/** How many records are read: the newest ones contain the rollback targets, and each record needs one request. */
const RECORDS = 60
const AT_ONCE = 8

/** Reads all images, snapshots, objects and uploads, and the references to them. Changes nothing. */
export async function takeInventory(ports: CatalogPorts): Promise<Inventory> {
  const { snapshots, objects, machines } = ports
  const [images, tagged, listed, uploads, running, state, deploys, tasks] = await Promise.all([
    findImages(ports),
    snapshots.find({ app: 'clawdinator' }),
    objects.list(IMAGE_PREFIX),
    objects.openUploads(IMAGE_PREFIX),
    machines.list(),
    objects.get(FLEET_STATE_KEY),
    readDeploys(ports),
    snapshots.importTasks(),
  ])
  // Those of images that were made before snapshots were tagged.
  const known = new Set(tagged.map(({ id }) => id))
  const lacking = images.flatMap(({ snapshotId }) => (snapshotId === null || known.has(snapshotId) ? [] : [snapshotId]))
  const untagged = await pMap(lacking, (id) => snapshots.describe(id), { concurrency: AT_ONCE })
  return {
    images,
    snapshots: [...tagged, ...untagged.filter((one) => one !== null)],
    objects: listed.map(({ key, size, modifiedAt }) => ({ key, bytes: size, modifiedAt })),
    uploads,
    machines: running,
    named: idsIn(state === null ? '' : Buffer.from(state).toString()),
    deploys,
    importing: new Set(
      tasks.flatMap(({ status, source }) => (status === 'active' && source !== null ? [source.key] : [])),
    ),
  }
}

/** Found by the tag that deploys use, with any value, and by the tag of unfinished imports. */
export async function findImages({ images }: { images: Pick<Images, 'find'> }): Promise<CatalogImage[]> {
  const found = await Promise.all([
    images.find({ tags: { app: 'clawdinator' } }),
    images.find({ tags: { [READY_TAG]: '*' } }),
  ])
  return [...new Map(found.flat().map((image) => [image.id, toCatalog(image)])).values()]
}

const toCatalog = ({ createdAt, ...image }: RegisteredImage): CatalogImage => ({
  ...image,
  createdAt: new Date(createdAt),
})

async function readDeploys({ objects }: CatalogPorts): Promise<DeployRecord[]> {
  const listed = (await objects.list(RECORD_PREFIX))
    .filter(({ key }) => !key.startsWith(INDEX_PREFIX))
    .sort((a, b) => b.modifiedAt.getTime() - a.modifiedAt.getTime())
  const records = await pMap(
    listed.slice(0, RECORDS),
    async ({ key }) => {
      const bytes = await objects.get(key)
      return bytes && parseAs(deployRecordSchema, Buffer.from(bytes).toString())
    },
    { concurrency: AT_ONCE },
  )
  return records.filter((record) => record !== null)
}

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
  /** Whether a deploy may use it. */
  ready: boolean
  /** Whether a deploy that names no AMI uses it, unless it failed. */
  latest: boolean
  /** Request id of the deploy in which it failed its checks. */
  failedIn: string | null
  /** Ids of hosts, or EC2 ids of machines that are not hosts. */
  usedBy: string[]
  /** The hosts with this rollback target. */
  rollbackOf: string[]
  /** The OpenTofu state names it. */
  inState: boolean
}

/** The fleet's AMIs, newest first. */
export async function listImages(ports: CatalogPorts): Promise<ListedImage[]> {
  return describeImages(await takeInventory(ports))
}

export function describeImages(inventory: Inventory): ListedImage[] {
  const latest = newestReady(inventory.images)
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
    failedIn: image.tags[FAILED_TAG] ?? null,
    usedBy: inventory.machines
      .filter((machine) => machine.imageId === image.id)
      .map(({ hostId, instanceId }) => hostId ?? instanceId)
      .sort(),
    rollbackOf: targets.flatMap(([host, ami]) => (ami === image.id ? [host] : [])).sort(),
    inState: inventory.named.has(image.id),
  }))
}
