import { type BlockMap, DIGEST_BYTES, digestAt } from '../../domain/images/blockMap.js'
import type { BlockPlan, PlannedBlock } from '../../domain/images/blockPlan.js'
import { BLOCK_BYTES } from '../../domain/images/blocks.js'
import { progressText, sizeText } from '../../domain/images/rate.js'
import type { OpenedSnapshot } from './openSnapshot.js'
import type { ImageFile, ImagePorts, Journal } from './ports.js'
import { readBlock } from './scanBlocks.js'
import { sendAll } from './sendAll.js'
import { sparing } from './sparing.js'
import { zeros } from './zeros.js'

export interface WrittenBlocks {
  /** SHA-256 over the digests of all blocks of the plan, in the order of their index. */
  checksum: Uint8Array
  /** Now, without those that an earlier run wrote. */
  sent: number
  sentZeros: number
  resumed: number
  retried: number
}

/**
 * Writes what the plan names and earlier runs did not write. The digest that each block is sent with is the one of the
 * scan: a file that changed since is noticed by EBS, and by its times.
 */
export async function writeBlocks(
  upload: { file: ImageFile; map: BlockMap; plan: BlockPlan; opened: OpenedSnapshot; journal: Journal },
  concurrency: number,
  ports: ImagePorts,
): Promise<WrittenBlocks> {
  const { file, map, plan, opened, journal } = upload
  const { clock, stop, progress, snapshots, digests } = ports
  const zeroDigest = digests.of(zeros(BLOCK_BYTES))
  const digestOf = ({ position }: PlannedBlock) => (position === null ? zeroDigest : digestAt(map, position))
  const missing = opened.sealed ? [] : plan.writes.filter(({ index }) => !opened.stored.has(index))
  const buffers: Uint8Array[] = []
  let done = 0
  let sentZeros = 0
  let retried = 0

  if (missing.length > 0) {
    const bytes = missing.length * BLOCK_BYTES
    const title = `Write ${missing.length} blocks, ${sizeText(bytes)}, to ${opened.snapshotId}`
    await progress.task(title, async (say) => {
      const started = clock.now().getTime()
      const tell = sparing(clock, say)
      const send = async (block: PlannedBlock, slot: number) => {
        let data = zeros(BLOCK_BYTES)
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
          tell(() => progressText(done * BLOCK_BYTES, bytes, clock.now().getTime() - started))
        } else {
          // A checksum that EBS refuses may be that of a block that was written to: no retry mends that.
          await file.assertUnchanged()
        }
        return outcome
      }
      const nameOf = (block: unknown) => `block ${(block as PlannedBlock).index}`
      ;({ retried } = await sendAll(missing, send, { concurrency, clock, stop, nameOf }))
    })
  }
  await file.assertUnchanged()
  const all = new Uint8Array(plan.writes.length * DIGEST_BYTES)
  for (const [at, block] of plan.writes.entries()) all.set(digestOf(block), at * DIGEST_BYTES)
  const resumed = plan.writes.length - missing.length
  return { checksum: digests.of(all), sent: missing.length, sentZeros, resumed, retried }
}
