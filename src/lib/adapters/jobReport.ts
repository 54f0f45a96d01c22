import { appendFile } from 'node:fs/promises'
import { ClawctlError } from '../domain/errors.js'
import type { JobReport } from '../ops/ports.js'
import type { Env } from './settings.js'

/** Writes to the files that GitHub Actions names; does nothing without them. @throws ClawctlError NOT_WRITABLE */
export function githubJobReport(env: Env): JobReport {
  const append = async (variable: 'GITHUB_OUTPUT' | 'GITHUB_STEP_SUMMARY', text: string) => {
    const file = env[variable]
    if (!file) return
    await appendFile(file, text).catch((cause: NodeJS.ErrnoException) => {
      throw new ClawctlError('NOT_WRITABLE', `${variable} names ${file}, which can't be written (${cause.code}).`, {
        hint: 'The work itself is done. Free some space on the runner, then run the command again: it finds the finished work.',
        cause,
      })
    })
  }
  return {
    summary: (markdown) => append('GITHUB_STEP_SUMMARY', `${markdown}\n`),
    output: (name, value) => append('GITHUB_OUTPUT', `${name}=${value.replace(/[\r\n]/g, ' ')}\n`),
  }
}
