import { readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import { describeOwner, takeLock } from '../fileLock.js'

/** An edit takes some milliseconds. An owner that holds the lock longer is stopped or dead, even if its process id exists. */
const HELD_AT_MOST_MS = 60_000
/** How long to wait: enough for a queue of edits, and short for a person. */
const WAIT_MS = 15_000

/** Names of write-file-atomic's temporary files, for the registry or a host file below it. */
const TEMPORARY = /^[a-z][\w.-]*\.(?:json|nix)\.\d{1,10}$/
/** Tolerance: a file system's clock is coarser than ours. */
const TICK_MS = 50

export interface Lock {
  /** Call before each write. @throws ClawctlError REGISTRY_LOCKED if another process took the lock */
  confirm(): Promise<void>
}

/**
 * Runs `work` while no other clawctl holds the registry's lock file.
 * @throws ClawctlError REGISTRY_LOCKED with the owner, NOT_WRITABLE
 */
export async function withFileLock<T>(file: string, work: (lock: Lock) => Promise<T>, waitMs = WAIT_MS): Promise<T> {
  const lock = await takeLock(file, {
    waitMs,
    heldAtMostMs: HELD_AT_MOST_MS,
    onTakeover: ({ at }) => removeBegun(dirname(file), Date.parse(at)),
  }).catch((error: NodeJS.ErrnoException) => {
    const what = `${file} can't be written (${error.code}), so the registry can't be edited.`
    const hint = `Let this user write in ${dirname(file)}, or use --pr, which writes nothing here.`
    throw new ClawctlError('NOT_WRITABLE', what, { hint, cause: error })
  })
  if (lock === null) throw await heldBy(file)
  try {
    return await work({
      async confirm() {
        // Stopped for so long that another process took the lock: our reads are outdated.
        if (!(await lock.isOwn())) throw lostLock(file)
      },
    })
  } finally {
    await lock.release()
  }
}

/** Removes the temporary files of a dead writer: only the lock's owner writes such files. */
async function removeBegun(folder: string, since: number): Promise<void> {
  for (const below of [folder, join(folder, 'hosts')]) {
    for (const name of await readdir(below).catch(() => [])) {
      const path = join(below, name)
      const stats = TEMPORARY.test(name) ? await stat(path).catch(() => null) : null
      if (stats?.isFile() && stats.mtimeMs >= since - TICK_MS) await rm(path, { force: true })
    }
  }
}

async function heldBy(file: string): Promise<ClawctlError> {
  return new ClawctlError(
    'REGISTRY_LOCKED',
    `The registry is being edited by ${await describeOwner(file)} (${file}).`,
    {
      hint: `Wait for it and try again. If no such process runs, remove ${file}.`,
    },
  )
}

function lostLock(file: string): ClawctlError {
  return new ClawctlError(
    'REGISTRY_LOCKED',
    `This process was stopped for so long that another one took the lock (${file}).`,
    {
      hint: 'Nothing was written. Run the command again.',
    },
  )
}
