import type { BigIntStats } from 'node:fs'
import { type FileHandle, open, readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import type { ImageFile, ImageFiles } from '../../ops/images/ports.js'
import { digestBlocks, readWhole } from './blockDigests.js'
import { dataExtents } from './extents.js'

/** Larger is no image.json. */
const MAX_TEXT_BYTES = 1024 * 1024

export const imageFiles: ImageFiles = {
  async open(path) {
    const handle = await openForReading(path)
    try {
      const stat = await handle.stat({ bigint: true })
      if (stat.isDirectory()) throw refusal(path, 'is a directory', 'Name the image file itself.')
      if (!stat.isFile()) throw refusal(path, 'is not a regular file', 'Copy it into a file first.')
      return imageFile(path, basename(await realpath(path)), handle, stat)
    } catch (error) {
      await handle.close()
      throw error
    }
  },
  async text(path) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR') return null
      throw refusal(path, `can't be read (${error.code})`, 'Check its permissions.')
    })
    return text !== null && text.length > MAX_TEXT_BYTES ? '' : text
  },
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw refusal(path, 'does not exist', '`clawctl image build` makes an image.')
    }
    throw refusal(path, `can't be opened (${code})`, 'Check its permissions.')
  }
}

function imageFile(path: string, name: string, handle: FileHandle, opened: BigIntStats): ImageFile {
  const bytes = Number(opened.size)
  const changed = () =>
    refusal(path, 'changed while it was read', 'Wait until it is whole, then run the command again.')
  const told = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException
      if (name === 'AbortError') throw new ClawctlError('CANCELLED', 'It was interrupted.')
      if (code === 'SHORT') throw changed()
      throw refusal(path, `can't be read (${code})`, 'Check the disk that it lies on.')
    }
  }
  return {
    path,
    name,
    bytes,
    allocatedBytes: Number(opened.blocks) * 512,
    extents: () => dataExtents(handle.fd, bytes),
    read: (offset, into) => told(() => readWhole(handle, into, offset)),
    digestBlocks: (indexes, options) => told(() => digestBlocks({ handle, bytes }, indexes, options)),
    async assertUnchanged() {
      const now = await handle.stat({ bigint: true })
      const same = (['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const).every(
        (field) => now[field] === opened[field],
      )
      if (!same) throw changed()
    },
    close: () => handle.close(),
  }
}

function refusal(path: string, why: string, hint: string): ClawctlError {
  return new ClawctlError('INVALID_IMAGE', `${path} ${why}.`, { hint })
}
