import { closeSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'

/** Larger contents are written to a file, if there is a folder. */
const IN_MEMORY = 256 * 1024
/** A read from a file at a time. */
const READ_SIZE = 512 * 1024

/** A file is removed with the last content that uses it. */
type Piece = { bytes: Buffer } | { file: string; from: number; size: number; holders: { count: number } }

/** The bytes of an object, as pieces in memory or in files. */
export class Content {
  readonly size: number
  readonly #pieces: readonly Piece[]
  #discarded = false

  private constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces
    this.size = pieces.reduce((sum, piece) => sum + sizeOf(piece), 0)
  }

  static of(bytes: Buffer | string): Content {
    return new Content([{ bytes: typeof bytes === 'string' ? Buffer.from(bytes) : bytes }])
  }

  static inFile(file: string, size: number): Content {
    return new Content([{ file, from: 0, size, holders: { count: 1 } }])
  }

  /** Joins the parts without copying; the result then owns their files. */
  static join(parts: readonly Content[]): Content {
    return new Content(parts.flatMap((part) => part.#pieces))
  }

  /** The bytes from `first` to `last`, both included, for another object, without copying. */
  share(first = 0, last = this.size - 1): Content {
    const pieces = this.#cut(first, last)
    for (const piece of pieces) if ('file' in piece) piece.holders.count += 1
    return new Content(pieces)
  }

  /** The bytes from `first` to `last`, both included. */
  async *read(first = 0, last = this.size - 1): AsyncGenerator<Buffer> {
    for (const piece of this.#cut(first, last)) {
      if ('bytes' in piece) yield piece.bytes
      else yield* readFile(piece.file, piece.from, piece.from + piece.size)
    }
  }

  #cut(first: number, last: number): Piece[] {
    let start = 0
    return this.#pieces.flatMap((piece): Piece[] => {
      const from = Math.max(first - start, 0)
      const to = Math.min(last + 1 - start, sizeOf(piece))
      start += sizeOf(piece)
      if (from >= to) return []
      if ('bytes' in piece) return [{ bytes: piece.bytes.subarray(from, to) }]
      return [{ ...piece, from: piece.from + from, size: to - from }]
    })
  }

  /** The whole content: for small objects and for tests. */
  bytes(): Buffer {
    const [only, ...rest] = this.#pieces.map((piece) => ('bytes' in piece ? piece.bytes : readWhole(piece)))
    return only && rest.length === 0 ? only : Buffer.concat(only ? [only, ...rest] : [])
  }

  /** Removes its files, except those that another content uses. */
  async discard(): Promise<void> {
    if (this.#discarded) return
    this.#discarded = true
    const files = this.#pieces.filter((piece) => 'file' in piece)
    for (const piece of files) piece.holders.count -= 1
    await Promise.all(files.filter(({ holders }) => holders.count === 0).map(({ file }) => rm(file, { force: true })))
  }
}

function sizeOf(piece: Piece): number {
  return 'bytes' in piece ? piece.bytes.length : piece.size
}

async function* readFile(file: string, from: number, to: number): AsyncGenerator<Buffer> {
  const handle = await open(file)
  try {
    for (let at = from; at < to; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(READ_SIZE, to - at)), {
        position: at,
      })
      if (bytesRead === 0) throw new Error(`${file} is shorter than the object`)
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

function readWhole({ file, from, size }: { file: string; from: number; size: number }): Buffer {
  const bytes = Buffer.alloc(size)
  const fd = openSync(file, 'r')
  try {
    for (let at = 0; at < size; ) at += readSync(fd, bytes, at, size - at, from + at) || size
  } finally {
    closeSync(fd)
  }
  return bytes
}

/** Receives an upload: in memory while it is small, then into a file. */
export class ContentWriter {
  readonly #newFile: () => string | null
  #chunks: Buffer[] = []
  #held = 0
  #file: { path: string; handle: FileHandle; size: number } | null = null

  /** `newFile` names a file that does not exist yet; null keeps everything in memory. */
  constructor(newFile: () => string | null) {
    this.#newFile = newFile
  }

  async write(chunk: Buffer): Promise<void> {
    this.#chunks.push(chunk)
    this.#held += chunk.length
    if (this.#held <= IN_MEMORY) return
    if (!this.#file) {
      const path = this.#newFile()
      if (path === null) return
      this.#file = { path, handle: await open(path, 'wx', 0o600), size: 0 }
    }
    await this.#flush(this.#file)
  }

  async end(): Promise<Content> {
    if (!this.#file) return Content.of(Buffer.concat(this.#chunks))
    await this.#flush(this.#file)
    await this.#file.handle.close()
    return Content.inFile(this.#file.path, this.#file.size)
  }

  async abandon(): Promise<void> {
    this.#chunks = []
    if (!this.#file) return
    await this.#file.handle.close().catch(() => {})
    await rm(this.#file.path, { force: true })
  }

  async #flush(file: { path: string; handle: FileHandle; size: number }): Promise<void> {
    if (this.#held === 0) return
    const { bytesWritten } = await file.handle.writev(this.#chunks)
    if (bytesWritten !== this.#held) throw new Error(`${file.path} could not be written: is the disk full?`)
    file.size += this.#held
    this.#chunks = []
    this.#held = 0
  }
}
