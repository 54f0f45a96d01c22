import { createHash } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'

export const BLOCK_SIZE = 512 * 1024

/** The blocks that were written to one snapshot: their digests in memory, their data in a sparse file, or in memory too. */
export class Blocks {
  /** Index to SHA-256. */
  readonly digests = new Map<number, Buffer>()
  readonly #file: string | null
  readonly #data = new Map<number, Buffer>()
  #handle: Promise<FileHandle> | null = null

  /** `file` does not exist yet; null keeps the data in memory. */
  constructor(file: string | null) {
    this.#file = file
  }

  /** `chunks` are one block, `digest` is theirs. The same index again takes the place of the earlier block. */
  async write(index: number, chunks: readonly Buffer[], digest: Buffer): Promise<void> {
    if (this.#file === null) {
      this.#data.set(index, Buffer.concat(chunks))
    } else {
      this.#handle ??= open(this.#file, 'w+', 0o600)
      const { bytesWritten } = await (await this.#handle).writev(chunks, index * BLOCK_SIZE)
      if (bytesWritten !== BLOCK_SIZE) throw new Error(`${this.#file} could not be written: is the disk full?`)
    }
    this.digests.set(index, digest)
  }

  async read(index: number): Promise<Buffer | null> {
    if (!this.digests.has(index)) return null
    if (this.#file === null) return this.#data.get(index) ?? null
    this.#handle ??= open(this.#file, 'r')
    const block = Buffer.allocUnsafe(BLOCK_SIZE)
    await (await this.#handle).read(block, { position: index * BLOCK_SIZE })
    return block
  }

  /** The digest of all digests in the order of their indexes: EBS's linear aggregation. */
  linearChecksum(): Buffer {
    const hash = createHash('sha256')
    for (const [, digest] of [...this.digests].sort(([a], [b]) => a - b)) hash.update(digest)
    return hash.digest()
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = null
    await (await handle?.catch(() => null))?.close()
  }

  async discard(): Promise<void> {
    await this.close()
    if (this.#file !== null) await rm(this.#file, { force: true })
  }
}
