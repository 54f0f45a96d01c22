/** A block of the EBS direct APIs. */
export const BLOCK_BYTES = 512 * 1024

const GIB = 1024 ** 3
/** The largest EBS volume, and so the largest snapshot: 64 TiB. */
export const MAX_IMAGE_BYTES = 64 * 1024 * GIB

/** Bytes of a file from `start` to before `end`. */
export interface Extent {
  start: number
  end: number
}

export const blockCountOf = (bytes: number) => Math.ceil(bytes / BLOCK_BYTES)

/** The smallest volume that holds so many bytes. */
export const volumeGib = (bytes: number) => Math.max(1, Math.ceil(bytes / GIB))

/** The blocks that the extents touch, ascending, each once. Extents may overlap; what lies behind the end is cut. */
export function* blocksOf(extents: readonly Extent[], bytes: number): Generator<number> {
  let next = 0
  for (const { start, end } of [...extents].sort((a, b) => a.start - b.start)) {
    if (start >= bytes) return
    const last = Math.ceil(Math.min(end, bytes) / BLOCK_BYTES)
    for (let index = Math.max(next, Math.floor(start / BLOCK_BYTES)); index < last; index += 1) {
      yield index
      next = index + 1
    }
  }
}
