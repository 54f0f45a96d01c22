import { mkdir, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import { ClawctlError } from '../../domain/errors.js'
import { HOSTS_PATH, REGISTRY_PATH } from '../../domain/paths.js'
import { hostFilePath } from '../../domain/registry/hostFile.js'
import type { FileChange, FleetFiles } from '../../domain/registry/plan.js'
import type { Checkout } from '../../ops/registry/ports.js'
import { registryFile } from './registryFile.js'
import { type Lock, withFileLock } from './registryLock.js'

/** The registry and the host files of a checkout. Without a checkout, every call rejects. */
export function checkoutFiles(root: string | null): Checkout {
  const source = registryFile(root)
  const below = (path: string) => join(root ?? '.', path)
  const read = async (id: string): Promise<FleetFiles> => {
    const registry = await source.read()
    // The plan refuses invalid ids; do not open a file for them.
    return { registry, hostFile: ID_PATTERN.test(id) ? await textOf(below(hostFilePath(id))) : null }
  }
  return {
    read,
    async hostFiles() {
      const names = await readdir(below(HOSTS_PATH)).catch(() => [])
      return names.filter((name) => name.endsWith('.nix')).map((name) => name.slice(0, -'.nix'.length))
    },
    async edit(id, plan) {
      // Plan first without the lock: reports problems early, and returns if there is nothing to do.
      const first = plan(await read(id))
      if (first.kind === 'nothing') return first
      // Beside the real file, so that two checkouts that share it by a link share its lock.
      const file = await realpath(below(REGISTRY_PATH))
      return withFileLock(`${file}.lock`, async (lock) => {
        const decided = plan(await read(id))
        const changes = decided.kind === 'change' ? decided.changes : []
        for (const change of changes) await write(below(change.path), change, lock)
        return decided
      })
    },
  }
}

/** Replaces the file atomically; keeps mode and owner, follows a link. */
async function write(file: string, change: FileChange, lock: Lock): Promise<void> {
  try {
    if (change.after === null) {
      await rm(file, { force: true })
      return
    }
    await mkdir(dirname(file), { recursive: true })
    await writeFileAtomic(file, change.after, { tmpfileCreated: () => lock.confirm() })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof ClawctlError || code === undefined) throw error
    throw new ClawctlError('NOT_WRITABLE', `${file} can't be written (${code}).`, {
      hint: 'Check its permissions and the free space, then run the command again: it continues.',
      cause: error,
    })
  }
}

async function textOf(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new ClawctlError('NOT_WRITABLE', `${file} can't be read (${code}).`, {
      hint: 'It must be a file that this user may read and write.',
      cause: error,
    })
  }
}
