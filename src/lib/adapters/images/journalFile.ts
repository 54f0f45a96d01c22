import { type FileHandle, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import { ClawctlError } from '../../domain/errors.js'
import type { Journal, ScanRecord } from '../../ops/images/ports.js'
import { describeOwner, type FileLock, takeLock } from '../fileLock.js'

/** A journal in a folder of the user, with a lock file of the process that uses it. */
export function journalFile(folder: string, name: string): Journal {
  const path = join(folder, `${name}.journal`)
  const lockPath = `${path}.lock`
  let opening: Promise<FileHandle> | undefined
  let lock: FileLock | null = null
  const close = async () => {
    const open = opening
    opening = undefined
    await open?.then((handle) => handle.close()).catch(() => {})
  }
  const refusing = <T>(work: () => Promise<T>) => writing(path, work)
  return {
    async lines() {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return ''
        return refusing(() => Promise.reject(error))
      })
      // An incomplete last line was cut off by a kill.
      return text.split('\n').slice(0, -1)
    },
    append: (line) =>
      refusing(async () => {
        opening ??= openForAppending(path)
        await (await opening).appendFile(`${line}\n`)
      }),
    clear: () =>
      refusing(async () => {
        await close()
        await rm(path, { force: true })
      }),
    lock: () =>
      refusing(async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        // An import may take any time: only a dead owner loses the lock.
        lock = await takeLock(lockPath, { waitMs: 0, heldAtMostMs: null })
        return lock !== null
      }),
    holder: async () => `${await describeOwner(lockPath)} (${lockPath})`,
    async unlock() {
      await close()
      await lock?.release()
    },
  }
}

async function openForAppending(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const handle = await open(path, 'a+', 0o600)
  const { size } = await handle.stat()
  const last = Buffer.alloc(1)
  // Separates the new line from one that a kill cut off.
  if (size > 0 && (await handle.read(last, 0, 1, size - 1)).bytesRead === 1 && last[0] !== 0x0a) {
    await handle.appendFile('\n')
  }
  return handle
}

/** In the same folder: the identity of the file in the first line, then its block manifest. */
export function scanRecord(folder: string): ScanRecord {
  const path = join(folder, 'last.blocks')
  return {
    async read(identity) {
      const content = await readFile(path).catch(() => null)
      const end = content?.indexOf('\n') ?? -1
      return content && content.toString('utf8', 0, end) === identity ? content.subarray(end + 1) : null
    },
    write: (identity, manifest) =>
      writing(path, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        await writeFileAtomic(path, Buffer.concat([Buffer.from(`${identity}\n`), manifest]), { fsync: false })
      }),
  }
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'ENOSPC' ? 'there is no space left' : code
    throw new ClawctlError('NOT_CONFIGURED', `The journal ${path} can't be written (${why}).`, {
      hint: 'Pass a writable folder with --state-dir.',
      cause: error,
    })
  }
}
