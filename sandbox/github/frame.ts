import { delimiter } from 'node:path'
import type { ActionTable } from './actions.js'
import { defaultVariables, githubContext, type Places, type RunFacts, runnerContext } from './contexts.js'
import { render, type Scope, type Value } from './expressions.js'
import type { JobLog, Masks } from './jobLog.js'
import type { ProcessGroups, StopPolicy } from './process.js'
import type { Conclusion } from './state.js'
import { type Defaults, type Step, titleOf } from './stepModel.js'

/** State shared by the steps of one job. */
export interface JobRuntime {
  facts: RunFacts
  jobKey: string
  /** Contexts that do not change while the job runs: needs, job … */
  contexts: Record<string, Value>
  places: Places
  commandDirectory: string
  trackingId: string
  baseEnv: Record<string, string>
  /** workflow < job < GITHUB_ENV */
  env: Record<string, string>
  path: string[]
  actions: ActionTable
  groups: ProcessGroups
  policy: StopPolicy
  log: JobLog
  masks: Masks
  /** Aborted when the job is cancelled or its time is up. */
  cancel: AbortSignal
  /** Aborted when also `always()` steps must end. */
  force: AbortSignal
  /** Aborted when the runner is lost. */
  lost: AbortSignal
}

export interface StepResult {
  outputs: Record<string, string>
  outcome: Conclusion
  conclusion: Conclusion
}

/** State shared by one list of steps: of a job, or of a composite action. */
export interface Frame {
  results: Record<string, StepResult>
  failed: boolean
  defaults: Defaults
  inputs: Record<string, Value>
  /** Environment that the calling step of a composite action gave. */
  env: Record<string, string>
  /** Directory of the composite action, or null in a job. */
  actionPath: string | null
  depth: number
  addSummary(markdown: string): void
}

/** The scope in which a step's expressions are evaluated. */
export function stepScope(job: JobRuntime, frame: Frame, env: Record<string, string>): Scope {
  const cancelled = job.cancel.aborted
  const status = cancelled ? 'cancelled' : frame.failed ? 'failure' : 'success'
  const contexts: Record<string, Value> = {
    ...job.contexts,
    github: githubContext(job.facts, {
      job: job.jobKey,
      workspace: job.places.workspace,
      event_path: job.places.eventPath,
      ...(frame.actionPath === null ? {} : { action_path: frame.actionPath }),
    }),
    runner: runnerContext(job.places),
    job: { status, container: {}, services: {} },
    inputs: frame.inputs,
    env,
    vars: job.facts.vars,
    steps: { ...frame.results } as Record<string, Value> & object,
  }
  // A composite action does not see its caller's secrets and needs.
  if (frame.actionPath !== null) delete contexts.needs
  else contexts.secrets = { ...job.facts.secrets, github_token: job.facts.token }
  return {
    contexts,
    status: { success: status === 'success', failure: status === 'failure', cancelled },
  }
}

/** Name of a step with its expressions evaluated; as written if that fails. */
export function renderTitle(step: Step, scope: Scope): string {
  try {
    return render(titleOf(step), scope)
  } catch {
    return titleOf(step)
  }
}

/** The environment of a step's process, without the files for commands. */
export function processEnv(job: JobRuntime, frame: Frame, env: Record<string, string>): Record<string, string> {
  const merged: Record<string, string> = {
    ...job.baseEnv,
    CI: 'true',
    ...env,
    ...defaultVariables(job.facts, job.jobKey, frame.actionPath === null ? '__run' : '__composite', job.places),
    ...(frame.actionPath === null ? {} : { GITHUB_ACTION_PATH: frame.actionPath }),
  }
  merged.PATH = [...job.path, merged.PATH ?? ''].filter((p) => p !== '').join(delimiter)
  return merged
}

/** The log's lines before a step's own output. */
export function logHead(
  job: JobRuntime,
  title: string,
  lines: string[],
  inputs: Record<string, string>,
  env: Record<string, string>,
): void {
  const block = (name: string, values: Record<string, string>) => {
    const shown = Object.entries(values).filter(([, value]) => value !== '')
    return shown.length === 0 ? [] : [`${name}:`, ...shown.map(([key, value]) => `  ${key}: ${value}`)]
  }
  job.log.line(`##[group]${title}`)
  for (const line of [...lines, ...block('with', inputs), ...block('env', env)]) job.log.line(line)
  job.log.line('##[endgroup]')
}
