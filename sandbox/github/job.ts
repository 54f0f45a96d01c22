import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ActionTable } from './actions.js'
import { eventOf, type Places, RUNNER_NAME, type RunFacts } from './contexts.js'
import { renderAll, renderNumber, type Scope, type Value } from './expressions.js'
import { type Frame, type JobRuntime, renderTitle, stepScope } from './frame.js'
import { JobLog, Masks } from './jobLog.js'
import { ProcessGroups, type StopPolicy } from './process.js'
import { type Conclusion, type JobState, type LogLine, type StepState, stamp } from './state.js'
import { runStep } from './steps.js'
import type { JobModel, Workflow } from './workflow.js'

/** GitHub's limit of a job. */
const DEFAULT_TIMEOUT_MINUTES = 360

export interface JobOptions {
  workflow: Workflow
  model: JobModel
  state: JobState
  facts: RunFacts
  needs: Record<string, Value>
  /** Removed by the caller when the run is over. */
  directory: string
  baseEnv: Record<string, string>
  actions: ActionTable
  policy: StopPolicy
  /** How long `always()` steps may still run after a cancellation. */
  cancelTimeoutMs: number
  cancel: AbortSignal
  lost: AbortSignal
  onStep(step: StepState): void
  onLog(line: LogLine): void
}

export interface JobResult {
  result: Conclusion
  outputs: Record<string, string>
}

/** A job on its runner: a fresh workspace, its steps in order, no process left at the end. */
export async function runJob(options: JobOptions): Promise<JobResult> {
  const { model, state, facts, lost } = options
  const masks = new Masks()
  for (const secret of [...Object.values(facts.secrets), facts.token]) masks.add(secret)
  const log = new JobLog({
    masks,
    onLine: (line) => {
      state.log.push(line)
      options.onLog(line)
    },
    onAnnotation: (annotation) => state.annotations.push(annotation),
  })
  const places = await makePlaces(options.directory, facts)
  const cancel = new AbortController()
  const force = new AbortController()
  const job: JobRuntime = {
    facts,
    jobKey: model.key,
    contexts: {
      needs: options.needs,
      matrix: null,
      strategy: { 'fail-fast': true, 'job-index': 0, 'job-total': 1, 'max-parallel': 1 },
    },
    places,
    commandDirectory: join(places.temp, '_runner_file_commands'),
    trackingId: `github_${randomUUID()}`,
    baseEnv: options.baseEnv,
    env: {},
    path: [],
    actions: options.actions,
    groups: new ProcessGroups(),
    policy: options.policy,
    log,
    masks,
    cancel: cancel.signal,
    force: force.signal,
    lost,
  }
  let timer: NodeJS.Timeout | undefined
  let forceTimer: NodeJS.Timeout | undefined
  const stopAll = () => {
    cancel.abort()
    forceTimer ??= setTimeout(() => force.abort(), options.cancelTimeoutMs)
  }
  if (options.cancel.aborted) stopAll()
  options.cancel.addEventListener('abort', stopAll)
  try {
    return await steps()
  } finally {
    clearTimeout(timer)
    clearTimeout(forceTimer)
    options.cancel.removeEventListener('abort', stopAll)
    await job.groups.cleanUp(job.trackingId)
  }

  async function steps(): Promise<JobResult> {
    const frame: Frame = {
      results: {},
      failed: false,
      defaults: {
        shell: model.defaults.shell ?? options.workflow.defaults.shell,
        workingDirectory: model.defaults.workingDirectory ?? options.workflow.defaults.workingDirectory,
      },
      inputs: facts.inputs,
      env: {},
      actionPath: null,
      depth: 0,
      addSummary: () => {},
    }
    const [first, last] = [state.steps[0], state.steps.at(-1)]
    begin(first)
    log.line(`Runner: ${RUNNER_NAME}. The sandbox runs this job on this machine, as this user.`)
    for (const { uses } of model.steps) if (uses) log.line(`Action: ${uses}`)
    let prepared = true
    try {
      for (const env of [options.workflow.env, model.env])
        Object.assign(job.env, renderAll(env, stepScope(job, frame, job.env)))
      const minutes = renderNumber(model.timeoutMinutes, stepScope(job, frame, job.env)) ?? DEFAULT_TIMEOUT_MINUTES
      timer = setTimeout(() => {
        // GitHub cancels a job whose time is up: its conclusion is `cancelled`, not `timed_out`
        // (workflow syntax, timeout-minutes: "GitHub automatically cancels it"), and always() steps still run.
        log.error(
          `The job running on runner ${RUNNER_NAME} has exceeded the maximum execution time of ${minutes} minutes.`,
        )
        stopAll()
      }, minutes * 60_000)
    } catch (error) {
      prepared = false
      frame.failed = true
      log.error((error as Error).message)
    }
    end(first, prepared ? 'success' : 'failure')

    for (const [i, step] of (prepared ? model.steps : []).entries()) {
      const shown = state.steps[i + 1]
      if (lost.aborted || !shown) break
      frame.addSummary = (markdown) => {
        shown.summary += markdown
      }
      log.enter(shown.number)
      const result = await runStep(job, frame, step, (title) => {
        shown.name = title
        begin(shown)
      })
      if (lost.aborted) break
      if (result.conclusion === 'skipped') shown.name = renderTitle(step, stepScope(job, frame, job.env))
      end(shown, result.conclusion)
    }
    if (lost.aborted) return loseRunner()

    begin(last)
    const outputs = jobOutputs(stepScope(job, frame, job.env))
    const orphans = await job.groups.cleanUp(job.trackingId)
    for (const pid of orphans) log.line(`Terminate orphan process: pid (${pid})`)
    log.line('Cleaning up orphan processes')
    end(last, 'success')
    if (lost.aborted) return loseRunner()
    return { result: cancel.signal.aborted ? 'cancelled' : frame.failed ? 'failure' : 'success', outputs }
  }

  /** A lost runner can't report the steps: they keep their last state, as on GitHub. */
  function loseRunner(): JobResult {
    log.error(
      `The hosted runner: ${RUNNER_NAME} lost communication with the server. Anything in your workflow that terminates ` +
        'the runner process, starves it for CPU/Memory, or blocks its network access can cause this error.',
    )
    return { result: 'failure', outputs: {} }
  }

  function jobOutputs(scope: Scope): Record<string, string> {
    const outputs: Record<string, string> = {}
    for (const [name, template] of Object.entries(model.outputs)) {
      try {
        const value = renderAll({ value: template }, scope).value ?? ''
        if (value === '') continue
        if (masks.hide(value) === value) outputs[name] = value
        else log.output(`::warning::Skip output '${name}' since it may contain secret.`)
      } catch (error) {
        log.error((error as Error).message)
      }
    }
    return outputs
  }

  function begin(step: StepState | undefined): void {
    if (!step) return
    log.enter(step.number)
    Object.assign(step, { status: 'in_progress', startedAt: stamp() })
    options.onStep(step)
  }

  function end(step: StepState | undefined, conclusion: Conclusion): void {
    if (!step) return
    step.startedAt ??= stamp()
    Object.assign(step, { status: 'completed', conclusion, completedAt: stamp() })
    options.onStep(step)
  }
}

async function makePlaces(directory: string, facts: RunFacts): Promise<Places> {
  const repository = facts.repository.split('/')[1] ?? 'repository'
  const temp = join(directory, '_temp')
  const places: Places = {
    workspace: join(directory, repository, repository),
    temp,
    toolCache: join(directory, '_tool'),
    eventPath: join(temp, '_github_workflow', 'event.json'),
  }
  await mkdir(places.workspace, { recursive: true })
  await mkdir(places.toolCache, { recursive: true })
  await mkdir(join(temp, '_runner_file_commands'), { recursive: true })
  await mkdir(join(temp, '_github_workflow'), { recursive: true })
  await writeFile(places.eventPath, JSON.stringify(eventOf(facts)))
  return places
}
