import type { BlockPlan, PlannedBlock } from '../../domain/images/blocks.js'
import {
  BLOCK_BYTES,
  type BlockMap,
  BlockMapBuilder,
  blocksOf,
  DIGEST_BYTES,
  decodeBlockMap,
  digestAt,
  encodeBlockMap,
} from '../../domain/images/blocks.js'
import { everySecond, progressText, sizeText } from '../../domain/images/progress.js'
import type { Clock } from '../ports.js'
import type { OpenedSnapshot } from './openSnapshot.js'
import type { ImageFile, ImagePorts, Journal, ScanRecord } from './ports.js'
import { sendAll } from './sendAll.js'

/** Read for hashing and sending; never modified. */
const ZERO_BLOCK: Uint8Array = new Uint8Array(BLOCK_BYTES)

export interface Scan {
  map: BlockMap
  /** The program that found the extents; null if the whole file was read. */
  extentsBy: string | null
  bytesRead: number
}

/**
 * The block map of a file. If this file was the last one that was read and is unchanged, the cached map is used; else
 * every extent is read once. Holes are not read; extents may contain zeros.
 */
export async function scanBlocks(
  file: ImageFile,
  ports: { clock: Clock; stop: AbortSignal; scans: ScanRecord },
  update: (text: string) => void,
): Promise<Scan> {
  const { identity } = file
  const known = identity === null ? null : await ports.scans.read(identity)
  const map = known && decodeBlockMap(known)
  if (map?.bytes === file.bytes) return { map, extentsBy: null, bytesRead: 0 }
  const scan = await readBlocks(file, ports, update)
  if (identity !== null) await ports.scans.write(identity, encodeBlockMap(scan.map))
  return scan
}

async function readBlocks(
  file: ImageFile,
  { clock, stop }: { clock: Clock; stop: AbortSignal },
  update: (text: string) => void,
): Promise<Scan> {
  const { extents, by } = await file.extents()
  const wanted = Uint32Array.from(blocksOf(extents, file.bytes))
  const started = clock.now().getTime()
  const progressed = everySecond(clock, update)
  const { digestOf } = await file.digestBlocks(wanted, {
    blockBytes: BLOCK_BYTES,
    stop,
    onProgress: (blocks) =>
      progressed(() =>
        progressText(blocks * BLOCK_BYTES, wanted.length * BLOCK_BYTES, clock.now().getTime() - started),
      ),
  })
  await file.assertUnchanged()
  const builder = new BlockMapBuilder()
  for (const [position, index] of wanted.entries()) {
    const digest = digestOf(position)
    if (digest) builder.add(index, digest)
  }
  return { map: builder.build(file.bytes), extentsBy: by, bytesRead: wanted.length * BLOCK_BYTES }
}

/** Fills the buffer with the block; beyond the end of the image it has zeros. */
async function readBlock(file: ImageFile, index: number, buffer: Uint8Array): Promise<void> {
  const start = index * BLOCK_BYTES
  const bytes = Math.min(BLOCK_BYTES, file.bytes - start)
  await file.read(start, buffer.subarray(0, bytes))
  if (bytes < BLOCK_BYTES) buffer.fill(0, bytes)
}

export interface WrittenBlocks {
  /** SHA-256 over the digests of all blocks of the plan, in the order of their index. */
  checksum: Uint8Array
  /** Blocks that this run wrote, without those of an earlier run. */
  sent: number
  sentZeros: number
  resumed: number
  retried: number
}

/**
 * Writes the planned blocks that earlier runs did not write. Each block is sent with the digest of the
 * scan: EBS refuses a block that changed since, and the file's times show the change.
 */
export async function writeBlocks(
  upload: { file: ImageFile; map: BlockMap; plan: BlockPlan; opened: OpenedSnapshot; journal: Journal },
  concurrency: number,
  ports: ImagePorts,
): Promise<WrittenBlocks> {
  const { file, map, plan, opened, journal } = upload
  const { clock, stop, progress, snapshots, digests } = ports
  const zeroDigest = digests.of(ZERO_BLOCK)
  const digestOf = ({ position }: PlannedBlock) => (position === null ? zeroDigest : digestAt(map, position))
  const missing = opened.sealed ? [] : plan.writes.filter(({ index }) => !opened.stored.has(index))
  const buffers: Uint8Array[] = []
  let done = 0
  let sentZeros = 0
  let retried = 0

  if (missing.length > 0) {
    const bytes = missing.length * BLOCK_BYTES
    const title = `Write ${missing.length} blocks, ${sizeText(bytes)}, to ${opened.snapshotId}`
    await progress.task(title, async (update) => {
      const started = clock.now().getTime()
      const progressed = everySecond(clock, update)
      const send = async (block: PlannedBlock, slot: number) => {
        let data = ZERO_BLOCK
        if (block.position !== null) {
          data = buffers[slot] ??= new Uint8Array(BLOCK_BYTES)
          await readBlock(file, block.index, data)
        }
        const sent = { snapshotId: opened.snapshotId, index: block.index, data, sha256: digestOf(block) }
        const outcome = await snapshots.putBlock(sent)
        if (outcome.ok) {
          await journal.append(String(block.index))
          done += 1
          if (block.position === null) sentZeros += 1
          progressed(() => progressText(done * BLOCK_BYTES, bytes, clock.now().getTime() - started))
        } else {
          if (outcome.kind === 'unknown') update(`EBS does not show ${opened.snapshotId} yet; retrying`)
          // EBS refuses the checksum of a block that changed in the file: a retry does not help.
          await file.assertUnchanged()
        }
        return outcome
      }
      const nameOf = ({ index }: PlannedBlock) => `block ${index}`
      ;({ retried } = await sendAll(missing, send, { concurrency, clock, stop, nameOf }))
    })
  }
  await file.assertUnchanged()
  const all = new Uint8Array(plan.writes.length * DIGEST_BYTES)
  for (const [at, block] of plan.writes.entries()) all.set(digestOf(block), at * DIGEST_BYTES)
  const resumed = plan.writes.length - missing.length
  return { checksum: digests.of(all), sent: missing.length, sentZeros, resumed, retried }
}
