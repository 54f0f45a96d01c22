import { appendFile } from 'node:fs/promises'
import type { JobReport } from '../ops/ports.js'
import type { Env } from './settings.js'

/** Writes to the files that GitHub Actions names; where it names none, says nothing. */
export function githubJobReport(env: Env): JobReport {
  return {
    async summary(markdown) {
      if (env.GITHUB_STEP_SUMMARY) await appendFile(env.GITHUB_STEP_SUMMARY, `${markdown}\n`)
    },
    async output(name, value) {
      if (env.GITHUB_OUTPUT) await appendFile(env.GITHUB_OUTPUT, `${name}=${value.replace(/[\r\n]/g, ' ')}\n`)
    },
  }
}
