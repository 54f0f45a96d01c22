const MIB = 1024 ** 2
/** S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MAX_PARTS = 10_000
const MAX_PART_BYTES = 5 * 1024 ** 3
export const MAX_UPLOAD_BYTES = MAX_PARTS * MAX_PART_BYTES
/** Large enough that requests cost little, small enough that a kill loses little. */
export const USUAL_PART_BYTES = 8 * MIB

export interface Part {
  /** From 1. */
  number: number
  start: number
  bytes: number
}

/** The same parts for the same size, always: a resumed upload cuts the file as the first one did. */
export function partsOf(bytes: number): Part[] {
  const least = Math.ceil(bytes / MAX_PARTS / MIB) * MIB
  const size = Math.max(USUAL_PART_BYTES, least)
  return Array.from({ length: Math.ceil(bytes / size) }, (_, i) => ({
    number: i + 1,
    start: i * size,
    bytes: Math.min(size, bytes - i * size),
  }))
}
