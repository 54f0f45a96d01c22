import { type Part, partsOf } from '../../domain/images/blocks.js'
import { everySecond, progressText } from '../../domain/images/progress.js'
import type { Clock } from '../ports.js'
import type { Digests, ImageFile } from './ports.js'
import { interrupted } from './sendAll.js'

const CHUNK_BYTES = 1024 * 1024
/** Read for hashing and sending; never modified. */
const ZEROS = new Uint8Array(CHUNK_BYTES)

export interface DigestedPart extends Part {
  /** Base64. */
  sha256: string
  /** All of it is zeros: a hole, which is not read, or zeros in the file. */
  zeros: boolean
}

export interface FileDigests {
  /** SHA-256 of the whole file, lowercase hexadecimal. */
  sha256: string
  parts: DigestedPart[]
  extentsBy: string | null
}

/**
 * The parts of a file and its digests, in one pass. Holes are hashed, because the whole file's SHA-256 needs it,
 * but not read; of parts that are holes one of each size is hashed.
 */
export async function digestFile(
  file: ImageFile,
  ports: { digests: Digests; clock: Clock; stop: AbortSignal },
  update: (text: string) => void,
): Promise<FileDigests> {
  const { extents, by } = await file.extents()
  const whole = ports.digests.running()
  const parts: DigestedPart[] = []
  const started = ports.clock.now().getTime()
  const progressed = everySecond(ports.clock, update)
  const buffers = [new Uint8Array(CHUNK_BYTES), new Uint8Array(CHUNK_BYTES)] as const
  const ofHoles = new Map<number, string>()
  let extent = 0

  /** Whether these bytes contain data. Called in ascending order. */
  const hasData = (start: number, end: number): boolean => {
    while ((extents[extent]?.end ?? Number.POSITIVE_INFINITY) <= start) extent += 1
    return (extents[extent]?.start ?? Number.POSITIVE_INFINITY) < end
  }

  for (const part of partsOf(file.bytes, extents)) {
    if (ports.stop.aborted) throw interrupted()
    const end = part.start + part.bytes
    const hole = !hasData(part.start, end)
    const known = hole ? ofHoles.get(part.bytes) : undefined
    const own = known === undefined ? ports.digests.running() : null
    const piecesOf = pieces(part)
    let zeros = true
    let pending = nextRead(0)
    for (let piece = 0; piece < piecesOf.length; piece += 1) {
      const chunk = await pending
      // Read the next one while this one is hashed.
      pending = nextRead(piece + 1)
      whole.update(chunk)
      own?.update(chunk)
      zeros &&= hole || Buffer.compare(chunk, ZEROS.subarray(0, chunk.length)) === 0
    }
    const sha256 = known ?? base64OfHex(own?.hex() ?? '')
    if (hole) ofHoles.set(part.bytes, sha256)
    parts.push({ ...part, sha256, zeros })
    progressed(() => progressText(end, file.bytes, ports.clock.now().getTime() - started))

    async function nextRead(at: number): Promise<Uint8Array> {
      const piece = piecesOf[at]
      if (!piece) return ZEROS.subarray(0, 0)
      if (hole || !hasData(piece.start, piece.end)) return ZEROS.subarray(0, piece.end - piece.start)
      const into = (buffers[at % 2] ?? buffers[0]).subarray(0, piece.end - piece.start)
      await file.read(piece.start, into)
      return into
    }
  }
  await file.assertUnchanged()
  return { sha256: whole.hex(), parts, extentsBy: by }
}

function pieces({ start, bytes }: Part): { start: number; end: number }[] {
  return Array.from({ length: Math.ceil(bytes / CHUNK_BYTES) }, (_, i) => ({
    start: start + i * CHUNK_BYTES,
    end: Math.min(start + (i + 1) * CHUNK_BYTES, start + bytes),
  }))
}

/** The bytes of a part in pieces; each piece reuses the buffer of the previous one. */
export async function* partBody(file: ImageFile, part: DigestedPart): AsyncGenerator<Uint8Array> {
  const buffer = part.zeros ? null : new Uint8Array(Math.min(CHUNK_BYTES, part.bytes))
  for (const { start, end } of pieces(part)) {
    if (buffer === null) {
      yield ZEROS.subarray(0, end - start)
      continue
    }
    const into = buffer.subarray(0, end - start)
    await file.read(start, into)
    yield into
  }
}

function base64OfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}
