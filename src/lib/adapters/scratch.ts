import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClawctlError } from '../domain/errors.js'
import type { Env } from './settings.js'

/**
 * A private folder that is removed when the process ends; in a job, below the folder that the runner clears.
 * @throws ClawctlError NOT_WRITABLE
 */
export function scratchFolder(prefix: string, env: Env): string {
  const folder = make(env.RUNNER_TEMP || tmpdir(), prefix)
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function make(parent: string, prefix: string): string {
  try {
    return mkdtempSync(join(parent, prefix))
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClawctlError('NOT_WRITABLE', `The temporary folder ${parent} can't be written (${code}).`, {
      hint: 'Check its permissions and the free space, or set TMPDIR to another folder.',
      cause,
    })
  }
}
