import * as z from 'zod/mini'
import { ClawctlError } from '../../domain/errors.js'
import type { BlockMap } from '../../domain/images/blocks.js'
import { decodeBlockMap } from '../../domain/images/blocks.js'
import type { ImageFacts } from '../../domain/images/build.js'
import { blockManifestKey, UNFINISHED_TAG } from '../../domain/images/names.js'
import { parseJson } from '../../domain/json.js'
import { untilSeen, YOUNG_MS } from '../poll.js'
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
  await journal.append(JSON.stringify({ snapshot: snapshotId, encrypted, at: ports.clock.now().toISOString() }))
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
  const age = ports.clock.now().getTime() - Date.parse(state.started.at ?? '1970-01-01')
  // A snapshot that was just started may not be visible yet.
  const there = await untilSeen(ports.clock, YOUNG_MS - age, () => ports.snapshots.describe(snapshotId))
  if (there?.state !== 'pending' && there?.state !== 'completed') return null
  ports.progress.note(`Resuming ${snapshotId}: ${stored.size} blocks are there already.`)
  // A sealed one is pending for a while too; then EBS refuses to seal it again, and its state shows it soon.
  return { snapshotId, parent, encrypted, stored, resumed: true, sealed: state.sealed || there.state === 'completed' }
}

const parentText = ({ snapshotId, digest, encrypted }: Parent) => `${snapshotId} ${digest} ${encrypted}`

async function parentOf(text: string, ports: ImagePorts): Promise<Parent | null> {
  const [snapshotId = '', digest = '', encrypted] = text.split(' ')
  const map = await readManifest(digest, ports)
  return map && { snapshotId, digest, map, encrypted: encrypted === 'true' }
}

/** The block manifest of an image in the bucket; null where there is none, or its content does not match its name. */
export async function readManifest(
  digest: string,
  { objects, digests }: Pick<ImagePorts, 'objects' | 'digests'>,
): Promise<BlockMap | null> {
  const bytes = await objects.get(blockManifestKey(digest))
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

/** A line of a direct upload's journal; the index of a block that was stored is a line of its own, as a bare number. */
const entrySchema = z.union([
  /** Before StartSnapshot: whoever is killed before its answer asks for the same snapshot again. */
  z.object({ token: z.string(), parent: z.nullable(z.string()) }),
  z.object({ snapshot: z.string(), encrypted: z.boolean(), at: z.optional(z.string()) }),
  /** CompleteSnapshot went through. */
  z.object({ sealed: z.literal(true) }),
])

export interface UploadState {
  token: string
  /** As it was written. */
  parent: string | null
  sealed: boolean
  started: { snapshot: string; encrypted: boolean; at?: string | undefined; stored: Set<number> } | null
}

/** The state that a journal records; null where it is empty or can't be used. */
export function readJournal(lines: readonly string[]): UploadState | null {
  let state: UploadState | null = null
  for (const line of lines) {
    if (/^\d+$/.test(line)) {
      state?.started?.stored.add(Number(line))
      continue
    }
    const entry = entrySchema.safeParse(parseJson(line))
    // A line that a kill cut off: what came before it holds.
    if (!entry.success) continue
    if ('token' in entry.data) state = { ...entry.data, started: null, sealed: false }
    else if ('sealed' in entry.data) {
      if (state) state.sealed = true
    } else if (state) state.started = { ...entry.data, stored: new Set() }
  }
  return state
}
