import { type BlockMap, BlockMapBuilder } from '../../domain/images/blockMap.js'
import { BLOCK_BYTES, blocksOf } from '../../domain/images/blocks.js'
import { progressText } from '../../domain/images/rate.js'
import type { Clock } from '../ports.js'
import type { ImageFile } from './ports.js'
import { sparing } from './sparing.js'

export interface Scan {
  map: BlockMap
  /** The program that named the extents; null where the whole file was read. */
  extentsBy: string | null
  bytesRead: number
}

/** Reads what may hold data, once, and says what it is. Holes are not read; what lies in extents may be zeros all the same. */
export async function scanBlocks(
  file: ImageFile,
  { clock, stop }: { clock: Clock; stop: AbortSignal },
  say: (text: string) => void,
): Promise<Scan> {
  const { extents, by } = await file.extents()
  const wanted = Uint32Array.from(blocksOf(extents, file.bytes))
  const started = clock.now().getTime()
  const tell = sparing(clock, say)
  const { digestOf } = await file.digestBlocks(wanted, {
    blockBytes: BLOCK_BYTES,
    stop,
    onProgress: (blocks) =>
      tell(() => progressText(blocks * BLOCK_BYTES, wanted.length * BLOCK_BYTES, clock.now().getTime() - started)),
  })
  await file.assertUnchanged()
  const builder = new BlockMapBuilder()
  for (const [position, index] of wanted.entries()) {
    const digest = digestOf(position)
    if (digest) builder.add(index, digest)
  }
  return { map: builder.build(file.bytes), extentsBy: by, bytesRead: wanted.length * BLOCK_BYTES }
}

/** Fills the buffer with the block; behind the end of the image lie zeros. */
export async function readBlock(file: ImageFile, index: number, buffer: Uint8Array): Promise<void> {
  const start = index * BLOCK_BYTES
  const bytes = Math.min(BLOCK_BYTES, file.bytes - start)
  await file.read(start, buffer.subarray(0, bytes))
  if (bytes < BLOCK_BYTES) buffer.fill(0, bytes)
}
