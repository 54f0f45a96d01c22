import { type BlockMap, digestAt } from './blockMap.js'
import { BLOCK_BYTES, volumeGib } from './blocks.js'

const BLOCKS_PER_GIB = 1024 ** 3 / BLOCK_BYTES

/** A block that has to be written; `position` is its place in the block map, null for zeros. */
export interface PlannedBlock {
  index: number
  position: number | null
}

export interface BlockPlan {
  /** Ascending. */
  writes: PlannedBlock[]
  /** How many of them are zeros. */
  zeros: number
  /** Blocks with data that the parent has already. */
  unchanged: number
}

/**
 * What has to be written into a snapshot. Without a parent every block with data; where the snapshot is encrypted every
 * block of the volume, because blocks never written read as noise there. On a child what differs from the parent: blocks
 * that became zero are written as zeros. An encrypted parent has all its blocks written, so it passes its zeros on.
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

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, at) => byte === b[at])
}
