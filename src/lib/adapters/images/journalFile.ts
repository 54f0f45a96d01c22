import { type FileHandle, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import type { Journal } from '../../ops/images/ports.js'

/** A journal in a folder of its own user; beside it a lock with the process id of who works with it. */
export function journalFile(folder: string, name: string): Journal {
  const path = join(folder, `${name}.journal`)
  const lockPath = `${path}.lock`
  let opening: Promise<FileHandle> | undefined
  const close = async () => {
    const open = opening
    opening = undefined
    await open?.then((handle) => handle.close()).catch(() => {})
  }
  const told = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      const why = code === 'ENOSPC' ? 'there is no space left' : code
      throw new ClawctlError('NOT_CONFIGURED', `The journal ${path} can't be written (${why}).`, {
        hint: 'Name a folder that can with --state-dir.',
        cause: error,
      })
    }
  }
  return {
    async lines() {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return ''
        return told(() => Promise.reject(error))
      })
      // What follows the last line's end was being written when the process was killed.
      return text.split('\n').slice(0, -1)
    },
    append: (line) =>
      told(async () => {
        opening ??= openForAppending(path)
        await (await opening).appendFile(`${line}\n`)
      }),
    clear: () =>
      told(async () => {
        await close()
        await rm(path, { force: true })
      }),
    lock: () => told(() => takeLock(lockPath)),
    async unlock() {
      await close()
      await rm(lockPath, { force: true })
    },
  }
}

async function openForAppending(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const handle = await open(path, 'a+', 0o600)
  const { size } = await handle.stat()
  const last = Buffer.alloc(1)
  // A line that a kill cut off must not run into the next one.
  if (size > 0 && (await handle.read(last, 0, 1, size - 1)).bytesRead === 1 && last[0] !== 0x0a) {
    await handle.appendFile('\n')
  }
  return handle
}

/** False where a process that still runs holds it. */
async function takeLock(path: string): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx', mode: 0o600 })
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = Number(await readFile(path, 'utf8').catch(() => ''))
    if (holder > 0 ? isRunning(holder) : await isFresh(path)) return false
    await rm(path, { force: true })
  }
  return false
}

/** Being written this moment: it has no process id yet. */
async function isFresh(path: string): Promise<boolean> {
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }))
  return Date.now() - mtimeMs < 5_000
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
