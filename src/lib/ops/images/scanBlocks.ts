import { type BlockMap, BlockMapBuilder } from '../../domain/image/blockMap.js'
import { BLOCK_BYTES, blocksOf } from '../../domain/image/blocks.js'
import { progressText } from '../../domain/image/rate.js'
import type { Clock } from '../ports.js'
import type { Digests, ImageFile } from './ports.js'
import { interrupted } from './sendAll.js'
import { isZero } from './zeros.js'

/** Enough to keep libuv's four threads reading and hashing. */
const READERS = 8

export interface Scan {
  map: BlockMap
  /** The program that named the extents; null where the whole file was read. */
  extentsBy: string | null
  bytesRead: number
}

/** Reads what may hold data, once, and says what it is. Holes are not read; what lies in extents may be zeros all the same. */
export async function scanBlocks(
  file: ImageFile,
  ports: { digests: Digests; clock: Clock; stop: AbortSignal },
  say: (text: string) => void,
): Promise<Scan> {
  const { extents, by } = await file.extents()
  const wanted = [...blocksOf(extents, file.bytes)]
  const builder = new BlockMapBuilder()
  const started = ports.clock.now().getTime()
  let taken = 0
  let bytesRead = 0
  let failed = false

  async function reader(): Promise<void> {
    const buffer = new Uint8Array(BLOCK_BYTES)
    while (taken < wanted.length && !failed) {
      if (ports.stop.aborted) throw interrupted()
      const index = wanted[taken++] ?? 0
      await readBlock(file, index, buffer)
      bytesRead += BLOCK_BYTES
      if (!isZero(buffer)) builder.add(index, await ports.digests.of(buffer))
      if (taken % 256 === 0) {
        const elapsed = ports.clock.now().getTime() - started
        say(`reading, ${progressText(Math.min(bytesRead, file.bytes), wanted.length * BLOCK_BYTES, elapsed)}`)
      }
    }
  }
  const readers = Array.from({ length: READERS }, () =>
    reader().catch((error) => {
      failed = true
      throw error
    }),
  )
  const ended = await Promise.allSettled(readers)
  for (const end of ended) if (end.status === 'rejected') throw end.reason
  await file.assertUnchanged()
  return { map: builder.build(file.bytes), extentsBy: by, bytesRead }
}

/** Fills the buffer with the block; behind the end of the image lie zeros. */
export async function readBlock(file: ImageFile, index: number, buffer: Uint8Array): Promise<void> {
  const start = index * BLOCK_BYTES
  const bytes = Math.min(BLOCK_BYTES, file.bytes - start)
  await file.read(start, buffer.subarray(0, bytes))
  if (bytes < BLOCK_BYTES) buffer.fill(0, bytes)
}
