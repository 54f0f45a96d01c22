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

/** The smallest volume, in GiB, that holds this many bytes. */
export const volumeGib = (bytes: number) => Math.max(1, Math.ceil(bytes / GIB))

/** The blocks that the extents touch, ascending, each once. Extents may overlap; they are cut at the image's end. */
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

export const DIGEST_BYTES = 32

/**
 * The blocks of an image that hold data (not only zeros), and the SHA-256 of each; the last block is filled up with
 * zeros.
 */
export interface BlockMap {
  /** Of the whole image. */
  bytes: number
  /** Ascending. */
  indexes: Uint32Array
  /** 32 bytes for each of `indexes`. */
  digests: Uint8Array
}

export function digestAt(map: BlockMap, position: number): Uint8Array {
  return map.digests.subarray(position * DIGEST_BYTES, (position + 1) * DIGEST_BYTES)
}

/** "CLAWBLK" and the version. */
const MAGIC = Uint8Array.of(0x43, 0x4c, 0x41, 0x57, 0x42, 0x4c, 0x4b, 1)
const HEADER_BYTES = 24
const ENTRY_BYTES = 4 + DIGEST_BYTES

/**
 * The block manifest: magic (8 bytes), image size (8), block size (4), number of entries (4), then for each block that is
 * not zero its index (4) and SHA-256 (32), ascending; big-endian. An 8 GiB image with 1.8 GiB of data: 120 KB. Its own
 * SHA-256 is the image's digest, so equal images have equal digests however sparse their files are.
 */
export function encodeBlockMap(map: BlockMap): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + map.indexes.length * ENTRY_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  view.setBigUint64(8, BigInt(map.bytes))
  view.setUint32(16, BLOCK_BYTES)
  view.setUint32(20, map.indexes.length)
  map.indexes.forEach((index, position) => {
    const at = HEADER_BYTES + position * ENTRY_BYTES
    view.setUint32(at, index)
    bytes.set(digestAt(map, position), at + 4)
  })
  return bytes
}

/** Null if the bytes are not a block manifest. */
export function decodeBlockMap(bytes: Uint8Array): BlockMap | null {
  if (bytes.length < HEADER_BYTES || MAGIC.some((byte, at) => bytes[at] !== byte)) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const size = Number(view.getBigUint64(8))
  const count = view.getUint32(20)
  if (view.getUint32(16) !== BLOCK_BYTES || size > MAX_IMAGE_BYTES) return null
  if (bytes.length !== HEADER_BYTES + count * ENTRY_BYTES) return null
  const map = { bytes: size, indexes: new Uint32Array(count), digests: new Uint8Array(count * DIGEST_BYTES) }
  const end = blockCountOf(size)
  for (let position = 0, last = -1; position < count; position += 1) {
    const at = HEADER_BYTES + position * ENTRY_BYTES
    const index = view.getUint32(at)
    if (index <= last || index >= end) return null
    last = index
    map.indexes[position] = index
    map.digests.set(bytes.subarray(at + 4, at + ENTRY_BYTES), position * DIGEST_BYTES)
  }
  return map
}

/** Collects blocks in any order. */
export class BlockMapBuilder {
  readonly #found = new Map<number, Uint8Array>()

  add(index: number, digest: Uint8Array): void {
    this.#found.set(index, digest)
  }

  build(bytes: number): BlockMap {
    const indexes = Uint32Array.from(this.#found.keys()).sort()
    const digests = new Uint8Array(indexes.length * DIGEST_BYTES)
    indexes.forEach((index, position) => {
      digests.set(this.#found.get(index) ?? new Uint8Array(), position * DIGEST_BYTES)
    })
    return { bytes, indexes, digests }
  }
}

const BLOCKS_PER_GIB = 1024 ** 3 / BLOCK_BYTES

/** A block to write; `position` is its place in the block map, null for zeros. */
export interface PlannedBlock {
  index: number
  position: number | null
}

export interface BlockPlan {
  /** Ascending. */
  writes: PlannedBlock[]
  /** How many of them are zeros. */
  zeros: number
  /** Blocks with data that the parent has. */
  unchanged: number
}

/**
 * The blocks to write into a snapshot. Without a parent every block with data; if the snapshot is encrypted, every
 * block of the volume, because an unwritten block reads as noise there. With a parent, the blocks that differ from it:
 * blocks that became zero are written as zeros. An encrypted parent has all its blocks written, so the child inherits
 * its zeros.
 */
export function planBlocks(map: BlockMap, parent: BlockMap | null, encrypted: boolean): BlockPlan {
  const plan: BlockPlan = { writes: [], zeros: 0, unchanged: 0 }
  const zero = (index: number) => {
    plan.writes.push({ index, position: null })
    plan.zeros += 1
  }
  if (parent === null && encrypted) {
    let position = 0
    for (let index = 0; index < volumeGib(map.bytes) * BLOCKS_PER_GIB; index += 1) {
      if (map.indexes[position] === index) plan.writes.push({ index, position: position++ })
      else zero(index)
    }
    return plan
  }
  let before = 0
  const parentIndexes = parent?.indexes ?? new Uint32Array()
  const zeroUpTo = (end: number) => {
    for (; before < parentIndexes.length && (parentIndexes[before] ?? end) < end; before += 1) {
      zero(parentIndexes[before] ?? 0)
    }
  }
  map.indexes.forEach((index, position) => {
    zeroUpTo(index)
    const same = parent && parentIndexes[before] === index && equal(digestAt(parent, before), digestAt(map, position))
    if (parentIndexes[before] === index) before += 1
    if (same) plan.unchanged += 1
    else plan.writes.push({ index, position })
  })
  zeroUpTo(Number.POSITIVE_INFINITY)
  return plan
}

/** Whether two digests are equal. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, at) => byte === b[at])
}

const MIB = 1024 ** 2
/** S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MAX_PARTS = 10_000
const MAX_PART_BYTES = 5 * 1024 ** 3
export const MAX_UPLOAD_BYTES = MAX_PARTS * MAX_PART_BYTES
/** Of every part but the last. */
const MIN_PART_BYTES = 5 * MIB
/** Large enough to need few requests, and small enough that a killed upload repeats little. */
export const USUAL_PART_BYTES = 8 * MIB

export interface Part {
  /** From 1. */
  number: number
  start: number
  bytes: number
}

/** Extents with data, those with less than `gap` between them as one. */
function runsOf(bytes: number, extents: readonly Extent[], gap: number): Extent[] {
  const runs: Extent[] = []
  for (const extent of extents) {
    const { start, end } = { start: extent.start, end: Math.min(extent.end, bytes) }
    const last = runs.at(-1)
    if (last && start - last.end < gap) last.end = Math.max(last.end, end)
    else if (start < end) runs.push({ start, end })
  }
  return runs
}

/**
 * The parts of a file, cut where holes begin and end, so that a part is data or a hole. A hole that is smaller than the
 * smallest part stays in a part with data. The same extents, ascending, always give the same parts: an upload can be
 * resumed.
 */
export function partsOf(bytes: number, extents: readonly Extent[]): Part[] {
  const least = Math.max(MIN_PART_BYTES, Math.ceil(bytes / MAX_PARTS / MIB) * MIB)
  const usual = Math.max(USUAL_PART_BYTES, least)
  const parts: Part[] = []
  let at = 0
  const add = (size: number) => {
    parts.push({ number: parts.length + 1, start: at, bytes: size })
    at += size
  }
  /** Up to `end`, if the rest is large enough for a part. */
  const cutTo = (end: number, most: number) => {
    for (let left = end - at; left >= least; left = end - at) {
      const lastTwo = left < usual + least && left >= 2 * least
      add(left <= most ? left : lastTwo ? left - least : usual)
    }
  }
  for (const { start, end } of runsOf(bytes, extents, least)) {
    cutTo(start, usual)
    cutTo(end, Math.min(usual + least, MAX_PART_BYTES))
    // The rest of the data takes some of the hole behind it.
    if (at < end) add(Math.min(least, bytes - at))
  }
  cutTo(bytes, usual)
  if (at < bytes) add(bytes - at)
  return parts
}
