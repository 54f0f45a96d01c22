import * as z from 'zod/mini'
import { ClawctlError } from '../../domain/errors.js'
import type { BlockMap } from '../../domain/images/blocks.js'
import { decodeBlockMap } from '../../domain/images/blocks.js'
import type { ImageFacts } from '../../domain/images/build.js'
import { blockManifestKey, UNFINISHED_TAG } from '../../domain/images/names.js'
import { parseAs } from '../../domain/json.js'
import { untilSeen, YOUNG_MS } from '../poll.js'
import type { ImagePorts, Journal } from './ports.js'
import { describe } from './registerImage.js'

/** The time limit of a GitHub job. EBS gives up an unfinished snapshot that has received no block for so long. */
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
  /** CompleteSnapshot succeeded: no block can be written any more. */
  sealed: boolean
}

export interface SnapshotRequest {
  digest: string
  facts: ImageFacts
  sizeGib: number
  kmsKey: string | null
}

/** The unfinished snapshot of an earlier run of the same image, if the journal names one, else a new one. */
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
    // If the account encrypts by default, an unencrypted snapshot can't be a parent, nor can a deleted one.
    if (parent !== null && isRefused(error)) return null
    throw error
  })
  if (opened) return opened
  ports.progress.note(`EBS does not accept ${parent?.snapshotId} as parent, so every block is sent.`)
  await journal.clear()
  return (await begin(request, null, journal, ports)) as OpenedSnapshot
}

/** Null if EBS made a child with another encryption than its parent's: its inherited blocks would be unreliable. */
async function begin(
  { digest, facts, sizeGib, kmsKey }: SnapshotRequest,
  parent: Parent | null,
  journal: Journal,
  ports: ImagePorts,
  knownToken?: string,
): Promise<OpenedSnapshot | null> {
  const token = knownToken ?? crypto.randomUUID()
  // Written before the request: a run that is killed before the answer requests the same snapshot again.
  if (!knownToken) await journal.append(JSON.stringify({ token, parent: parent && parentText(parent) }))
  const started = await ports.snapshots.start({
    sizeGib,
    timeoutMinutes: TIMEOUT_MINUTES,
    token,
    parent: parent?.snapshotId ?? null,
    kmsKey,
    description: describe(facts, digest),
    // Not the tags of an image: an unfinished snapshot must not be found as one.
    tags: { [UNFINISHED_TAG]: digest },
  })
  const { id: snapshotId, encrypted } = started
  if (parent !== null && parent.encrypted !== encrypted) {
    await ports.snapshots.delete(snapshotId)
    return null
  }
  await journal.append(JSON.stringify({ snapshot: snapshotId, encrypted, at: ports.clock.now().toISOString() }))
  return { snapshotId, parent, encrypted, stored: new Set(), resumed: false, sealed: false }
}

/** Null if it can't be resumed: EBS has given it up or refuses its token, or the parent's manifest is gone. */
async function openAgain(
  state: UploadState,
  request: SnapshotRequest,
  journal: Journal,
  ports: ImagePorts,
): Promise<OpenedSnapshot | null> {
  const parent = state.parent === null ? null : await parentOf(state.parent, ports)
  if (state.parent !== null && parent === null) return null
  if (!state.started) {
    return begin(request, parent, journal, ports, state.token).catch((error) => {
      if (isRefused(error)) return null
      throw error
    })
  }
  const { snapshot: snapshotId, encrypted, stored } = state.started
  const age = ports.clock.now().getTime() - Date.parse(state.started.at ?? '1970-01-01')
  // A snapshot that was just started may not be visible yet.
  const there = await untilSeen(ports.clock, YOUNG_MS - age, () => ports.snapshots.describe(snapshotId))
  if (there?.state !== 'pending' && there?.state !== 'completed') return null
  ports.progress.note(`Resuming ${snapshotId}: ${stored.size} blocks are there already.`)
  // A sealed snapshot is also pending for a while: EBS then refuses to seal it again, and its state shows it soon.
  return { snapshotId, parent, encrypted, stored, resumed: true, sealed: state.sealed || there.state === 'completed' }
}

const parentText = ({ snapshotId, digest, encrypted }: Parent) => `${snapshotId} ${digest} ${encrypted}`

async function parentOf(text: string, ports: ImagePorts): Promise<Parent | null> {
  const [snapshotId = '', digest = '', encrypted] = text.split(' ')
  const map = await readManifest(digest, ports)
  return map && { snapshotId, digest, map, encrypted: encrypted === 'true' }
}

/** The block manifest of an image in the bucket; null if there is none, or its content does not match its name. */
export async function readManifest(
  digest: string,
  { objects, digests }: Pick<ImagePorts, 'objects' | 'digests'>,
): Promise<BlockMap | null> {
  const bytes = await objects.get(blockManifestKey(digest))
  if (bytes === null || hexOf(digests.of(bytes)) !== digest) return null
  return decodeBlockMap(bytes)
}

const REFUSALS = ['ConflictException', 'ResourceNotFoundException', 'ValidationException']

/** Whether EBS refuses the parameters of the request. An outage is not a refusal. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof ClawctlError) || error.code !== 'UPSTREAM') return false
  return REFUSALS.includes((error.cause as Error | undefined)?.name ?? '')
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A line of a direct upload's journal; the index of a block that was stored is a line of its own, as a bare number. */
const entrySchema = z.union([
  /** Before StartSnapshot. */
  z.object({ token: z.string(), parent: z.nullable(z.string()) }),
  z.object({ snapshot: z.string(), encrypted: z.boolean(), at: z.optional(z.string()) }),
  /** After CompleteSnapshot. */
  z.object({ sealed: z.literal(true) }),
])

export interface UploadState {
  token: string
  /** As it was written. */
  parent: string | null
  sealed: boolean
  started: { snapshot: string; encrypted: boolean; at?: string | undefined; stored: Set<number> } | null
}

/** The state that a journal records; null if it is empty or can't be used. */
export function readJournal(lines: readonly string[]): UploadState | null {
  let state: UploadState | null = null
  for (const line of lines) {
    if (/^\d+$/.test(line)) {
      state?.started?.stored.add(Number(line))
      continue
    }
    const entry = parseAs(entrySchema, line)
    // A line that was cut off by a kill; the lines before it are valid.
    if (!entry) continue
    if ('token' in entry) state = { ...entry, started: null, sealed: false }
    else if ('sealed' in entry) {
      if (state) state.sealed = true
    } else if (state) state.started = { ...entry, stored: new Set() }
  }
  return state
}
