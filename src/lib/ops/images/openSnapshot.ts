import { ClawctlError } from '../../domain/errors.js'
import type { BlockMap } from '../../domain/images/blockMap.js'
import { decodeBlockMap } from '../../domain/images/blockMap.js'
import type { ImageFacts } from '../../domain/images/info.js'
import { manifestKey, UNFINISHED_TAG } from '../../domain/images/names.js'
import { readJournal, type UploadState } from '../../domain/images/uploadJournal.js'
import type { ImagePorts, Journal } from './ports.js'
import { describe } from './registerImage.js'

/** As long as a job of GitHub may last; EBS gives an unfinished snapshot up when nothing came for so long. */
const TIMEOUT_MINUTES = 360

export interface Parent {
  snapshotId: string
  digest: string
  encrypted: boolean
  map: BlockMap
}

export interface OpenedSnapshot {
  snapshotId: string
  parent: Parent | null
  encrypted: boolean
  /** Blocks that an earlier run has written. */
  stored: ReadonlySet<number>
  resumed: boolean
  /** Nothing can be written any more: CompleteSnapshot went through. */
  sealed: boolean
}

export interface SnapshotRequest {
  digest: string
  facts: ImageFacts
  sizeGib: number
  kmsKey: string | null
}

/** The snapshot that an earlier run of the same image left unfinished, where the journal names one, else a new one. */
export async function openSnapshot(
  request: SnapshotRequest,
  findParent: (() => Promise<Parent | null>) | null,
  journal: Journal,
  ports: ImagePorts,
): Promise<OpenedSnapshot> {
  const before = readJournal(await journal.lines())
  const left = before && (await openAgain(before, request, journal, ports))
  if (left) return left
  if (before) await journal.clear()
  const parent = findParent ? await findParent() : null
  const opened = await begin(request, parent, journal, ports).catch((error) => {
    // Where the account encrypts by default an unencrypted snapshot can't be a parent; a deleted one neither.
    if (parent !== null && refusesParent(error)) return null
    throw error
  })
  if (opened) return opened
  ports.progress.note(`EBS does not take ${parent?.snapshotId} as parent: all of the image is sent.`)
  await journal.clear()
  return (await begin(request, null, journal, ports)) as OpenedSnapshot
}

/** Null where EBS made a child whose encryption is not its parent's: what it inherits can't be relied on. */
async function begin(
  { digest, facts, sizeGib, kmsKey }: SnapshotRequest,
  parent: Parent | null,
  journal: Journal,
  ports: ImagePorts,
  knownToken?: string,
): Promise<OpenedSnapshot | null> {
  const token = knownToken ?? crypto.randomUUID()
  // Before it is asked for: whoever is killed before the answer asks for the same snapshot again.
  if (!knownToken) await journal.append(JSON.stringify({ token, parent: parent && parentText(parent) }))
  const started = await ports.snapshots.start({
    sizeGib,
    timeoutMinutes: TIMEOUT_MINUTES,
    token,
    parent: parent?.snapshotId ?? null,
    kmsKey,
    description: describe(facts, digest),
    // Not yet those of an image: what is unfinished must not pass for one.
    tags: { [UNFINISHED_TAG]: digest },
  })
  const { id: snapshotId, encrypted } = started
  if (parent !== null && parent.encrypted !== encrypted) {
    await ports.snapshots.delete(snapshotId)
    return null
  }
  await journal.append(JSON.stringify({ snapshot: snapshotId, encrypted }))
  return { snapshotId, parent, encrypted, stored: new Set(), resumed: false, sealed: false }
}

/** Null where there is nothing to go on with: given up by EBS, or the parent's manifest is gone. */
async function openAgain(
  state: UploadState,
  request: SnapshotRequest,
  journal: Journal,
  ports: ImagePorts,
): Promise<OpenedSnapshot | null> {
  const parent = state.parent === null ? null : await parentOf(state.parent, ports)
  if (state.parent !== null && parent === null) return null
  if (!state.started) return begin(request, parent, journal, ports, state.token).catch(() => null)
  const { snapshot: snapshotId, encrypted, stored } = state.started
  const there = await ports.snapshots.describe(snapshotId)
  if (there?.state !== 'pending' && there?.state !== 'completed') return null
  ports.progress.note(`Resuming ${snapshotId}: ${stored.size} blocks are there already.`)
  // A sealed one is pending for a while too; then EBS refuses to seal it again, and its state says so soon.
  return { snapshotId, parent, encrypted, stored, resumed: true, sealed: state.sealed || there.state === 'completed' }
}

const parentText = ({ snapshotId, digest, encrypted }: Parent) => `${snapshotId} ${digest} ${encrypted}`

async function parentOf(text: string, ports: ImagePorts): Promise<Parent | null> {
  const [snapshotId = '', digest = '', encrypted] = text.split(' ')
  const map = await readManifest(digest, ports)
  return map && { snapshotId, digest, map, encrypted: encrypted === 'true' }
}

/** The block manifest of an image in the bucket; null where there is none, or not the one that its name says. */
export async function readManifest(
  digest: string,
  { objects, digests }: Pick<ImagePorts, 'objects' | 'digests'>,
): Promise<BlockMap | null> {
  const bytes = await objects.get(manifestKey(digest))
  if (bytes === null || hexOf(digests.of(bytes)) !== digest) return null
  return decodeBlockMap(bytes)
}

function refusesParent(error: unknown): boolean {
  if (!(error instanceof ClawctlError) || error.code !== 'UPSTREAM') return false
  return ['ValidationException', 'ResourceNotFoundException'].includes((error.cause as Error | undefined)?.name ?? '')
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
