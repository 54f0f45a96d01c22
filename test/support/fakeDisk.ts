import { createHash } from 'node:crypto'
import { ClawctlError } from '../../src/lib/domain/errors.js'
import { BLOCK_BYTES } from '../../src/lib/domain/images/blocks.js'
import type { ImageFile } from '../../src/lib/ops/images/ports.js'

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

const digestsOfBlocks = new Map<number, Buffer>()

/** Of a block that is filled with one byte. */
export function digestOfBlock(value: number): Buffer {
  const known = digestsOfBlocks.get(value) ?? sha256(Buffer.alloc(BLOCK_BYTES, value))
  digestsOfBlocks.set(value, known)
  return known
}

/** The first sector of a disk with one partition, of Linux or of EFI, of seven sectors. */
export function bootSector(kind: 'linux' | 'esp' = 'linux'): Buffer {
  const sector = Buffer.alloc(512)
  sector.write('boot code')
  sector.writeUInt8(kind === 'esp' ? 0xef : 0x83, 446 + 4)
  sector.writeUInt32LE(1, 446 + 8)
  sector.writeUInt32LE(7, 446 + 12)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

/** A file whose blocks are filled with one byte each; 0 is a hole unless `written` says otherwise. */
export class FakeDisk {
  readonly path: string
  /** Blocks of zeros that are data for the file system. */
  written = new Set<number>()
  /** Blocks that were read. */
  read = new Set<number>()
  #version = 0
  content: number[]

  constructor(path: string, content: readonly number[]) {
    this.path = path
    this.content = [...content]
  }

  get bytes(): number {
    return this.content.length * BLOCK_BYTES
  }

  change(index: number, value: number): void {
    this.content[index] = value
    this.#version += 1
  }

  replace(content: readonly number[]): void {
    this.content = [...content]
    this.#version += 1
  }

  open(): ImageFile {
    const opened = this.#version
    const { bytes } = this
    return {
      path: this.path,
      name: this.path.replace(/^.*\//, ''),
      bytes,
      identity: `${this.path} ${opened}`,
      allocatedBytes: bytes,
      extents: async () => ({
        by: 'fake',
        extents: this.content.flatMap((value, index) =>
          value !== 0 || this.written.has(index)
            ? [{ start: index * BLOCK_BYTES, end: (index + 1) * BLOCK_BYTES }]
            : [],
        ),
      }),
      read: async (offset, into) => {
        for (let at = 0; at < into.length; ) {
          const index = Math.floor((offset + at) / BLOCK_BYTES)
          const end = Math.min(into.length, (index + 1) * BLOCK_BYTES - offset)
          this.read.add(index)
          into.fill(this.content[index] ?? 0, at, end)
          at = end
        }
      },
      digestBlocks: async (indexes) => {
        for (const index of indexes) this.read.add(index)
        return {
          digestOf: (at) => {
            const value = this.content[indexes[at] ?? 0] ?? 0
            return value === 0 ? null : digestOfBlock(value)
          },
        }
      },
      assertUnchanged: async () => {
        if (this.#version !== opened) throw new ClawctlError('INVALID_IMAGE', `${this.path} changed while it was read.`)
      },
      close: async () => {},
    }
  }
}
