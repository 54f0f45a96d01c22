import { join } from 'node:path'
import { createIssues } from '../../adapters/github/issues.js'
import { githubJobReport } from '../../adapters/jobReport.js'
import { scratchFolder } from '../../adapters/scratch.js'
import { type Env, githubSettings, githubToken } from '../../adapters/settings.js'
import type { DriftPorts } from '../../ops/drift/ports.js'
import { credentialOf, tokenCredential } from './github.js'

/** What `fleet drift` needs beyond what every command of the direct plane has. */
export function driftPorts(
  env: Env,
  common: Omit<DriftPorts, 'report' | 'planFile' | 'issues'>,
  options: { issue: boolean; userAgent: string },
): DriftPorts {
  return {
    ...common,
    report: githubJobReport(env),
    planFile: join(scratchFolder('clawctl-drift-', env), 'drift.tfplan'),
    issues: options.issue ? issuesOf(env, options.userAgent) : null,
  }
}

function issuesOf(env: Env, userAgent: string) {
  const settings = githubSettings(env)
  const credential = credentialOf(env, userAgent, settings.repo, { issues: 'write' })
  return createIssues({ ...settings, ...(credential ?? tokenCredential(githubToken(env))), userAgent })
}
