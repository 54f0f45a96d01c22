import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Env } from './settings.js'

/** A private folder that is removed when the process ends; in a job, below the folder that the runner clears. */
export function scratchFolder(prefix: string, env: Env): string {
  const folder = mkdtempSync(join(env.RUNNER_TEMP || tmpdir(), prefix))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}
