import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ActionTable } from './actions.js'
import { type RunFacts, runContexts } from './contexts.js'
import { condition, render, renderBoolean, type Scope, type Value } from './expressions.js'
import { type JobResult, runJob } from './job.js'
import type { StopPolicy } from './process.js'
import { type Conclusion, type JobState, type LogLine, type StepState, stamp } from './state.js'
import { titleOf } from './stepModel.js'
import type { JobModel, Workflow } from './workflow.js'

export interface RunLimits extends StopPolicy {
  /** How long `always()` steps may still run after a cancellation; five minutes on GitHub. */
  cancelTimeoutMs: number
}

/** Shorter than GitHub's; StopPolicy has GitHub's values. */
const DEFAULT_LIMITS: RunLimits = {
  sigintMs: 1000,
  sigtermMs: 1000,
  outputMs: 1000,
  signals: 'shell',
  cancelTimeoutMs: 300_000,
}

export interface WorkflowRunOptions {
  workflow: Workflow
  facts: RunFacts
  /** The folder of the run's files. */
  directory: string
  baseEnv: Record<string, string>
  actions: ActionTable
  limits?: Partial<RunLimits>
  nextJobId(): number
  onJob?(job: JobState): void
  onStep?(job: JobState, step: StepState): void
  onLog?(job: JobState, line: LogLine): void
}

interface JobRecord {
  model: JobModel
  cancel: AbortController
  lost: AbortController
  /** Set when its condition holds. */
  started: boolean
  done: Promise<void>
  result: JobResult | null
}

/** One run of a workflow: its jobs in the order of their `needs`, each on a runner of its own. */
export class WorkflowRun {
  /** In the order in which they became ready; a job that waits for others is not listed, as on GitHub. */
  readonly jobs: JobState[] = []
  readonly #options: WorkflowRunOptions
  readonly #limits: RunLimits
  readonly #records = new Map<string, JobRecord>()
  #cancelled = false
  #abandoned = false

  constructor(options: WorkflowRunOptions) {
    this.#options = options
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
  }

  /** Runs all jobs. Resolves with the run's conclusion when no process of it is left. */
  async execute(): Promise<Conclusion> {
    const waiting = new Map(this.#options.workflow.jobs.map((model) => [model.key, model]))
    const start = (model: JobModel): Promise<void> => {
      const known = this.#records.get(model.key)
      if (known) return known.done
      const record: JobRecord = {
        model,
        cancel: new AbortController(),
        lost: new AbortController(),
        started: false,
        done: Promise.resolve(),
        result: null,
      }
      this.#records.set(model.key, record)
      record.done = (async () => {
        await Promise.all(model.needs.map((key) => start(waiting.get(key) as JobModel)))
        record.result = await this.#job(record)
      })()
      return record.done
    }
    await Promise.all(this.#options.workflow.jobs.map(start))
    return this.#conclusion()
  }

  /** Asks the running jobs to stop, except those whose own condition still holds, as `always()` does. */
  cancel(): void {
    this.#cancelled = true
    for (const record of this.#records.values()) {
      if (record.started && !record.result && !this.#holds(record.model)) record.cancel.abort()
    }
  }

  /** The runners of the running jobs are lost: all their processes are killed, and no `always()` steps run. */
  kill(): void {
    for (const record of this.#records.values()) if (record.started && !record.result) record.lost.abort()
  }

  /** Kills all processes, and starts no further one. */
  abandon(): void {
    this.#abandoned = true
    this.cancel()
    for (const record of this.#records.values()) {
      record.cancel.abort()
      record.lost.abort()
    }
  }

  /** Removes the run's files, after it is over. */
  async dispose(): Promise<void> {
    await rm(this.#options.directory, { recursive: true, force: true, maxRetries: 3 })
  }

  async #job(record: JobRecord): Promise<JobResult> {
    const { model } = record
    const { workflow, facts } = this.#options
    const needs = this.#needsOf(model)
    const scope = this.#scopeOf(model)
    const state: JobState = {
      id: this.#options.nextJobId(),
      key: model.key,
      name: model.key,
      labels: [],
      status: 'queued',
      conclusion: null,
      createdAt: stamp(),
      startedAt: null,
      completedAt: null,
      steps: [],
      annotations: [],
      log: [],
    }
    const finish = (job: JobResult): JobResult => {
      Object.assign(state, { status: 'completed', conclusion: job.result, completedAt: stamp() })
      state.startedAt ??= state.completedAt
      this.#options.onJob?.(state)
      return job
    }
    const fail = (message: string): JobResult => {
      state.log.push({ at: new Date().toISOString(), step: 0, text: `##[error]${message}` })
      state.annotations.push({ level: 'failure', title: '', message, path: '.github', line: 1, endLine: 1 })
      return finish({ result: 'failure', outputs: {} })
    }

    try {
      if (model.name !== null) state.name = render(model.name, scope)
      if (this.#abandoned || !condition(model.if, scope)) {
        // If the run is cancelled before a job starts, the job is cancelled; if its condition does not hold, it is skipped.
        const result = this.#cancelled ? 'cancelled' : 'skipped'
        this.jobs.push(state)
        return finish({ result, outputs: {} })
      }
      record.started = true
      state.labels = model.runsOn.map((label) => render(label, scope))
      this.jobs.push(state)
      this.#options.onJob?.(state)
      state.steps = stepsOf(model)
      Object.assign(state, { status: 'in_progress', startedAt: stamp() })
      this.#options.onJob?.(state)
      const done = await runJob({
        workflow,
        model,
        state,
        facts,
        needs,
        directory: join(this.#options.directory, model.key),
        baseEnv: this.#options.baseEnv,
        actions: this.#options.actions,
        policy: this.#limits,
        cancelTimeoutMs: this.#limits.cancelTimeoutMs,
        cancel: record.cancel.signal,
        lost: record.lost.signal,
        onStep: (step) => this.#options.onStep?.(state, step),
        onLog: (line) => this.#options.onLog?.(state, line),
      })
      return finish(done)
    } catch (error) {
      if (!this.jobs.includes(state)) this.jobs.push(state)
      return fail((error as Error).message)
    }
  }

  #scopeOf(model: JobModel): Scope {
    const ancestors = this.#ancestorsOf(model).map((r) => r.result?.result)
    return {
      contexts: { ...runContexts(this.#options.facts), needs: this.#needsOf(model) },
      status: {
        success: !this.#cancelled && ancestors.every((result) => result === 'success'),
        failure: !this.#cancelled && ancestors.includes('failure'),
        cancelled: this.#cancelled,
      },
    }
  }

  #holds(model: JobModel): boolean {
    try {
      return condition(model.if, this.#scopeOf(model))
    } catch {
      return false
    }
  }

  #needsOf(model: JobModel): Record<string, Value> {
    return Object.fromEntries(
      model.needs.map((key) => {
        const result = this.#records.get(key)?.result
        return [key, { result: result?.result ?? 'skipped', outputs: result?.outputs ?? {} }]
      }),
    )
  }

  #ancestorsOf(model: JobModel): JobRecord[] {
    const found = new Map<string, JobRecord>()
    const visit = (keys: string[]) => {
      for (const key of keys) {
        const record = this.#records.get(key)
        if (!record || found.has(key)) continue
        found.set(key, record)
        visit(record.model.needs)
      }
    }
    visit(model.needs)
    return [...found.values()]
  }

  #conclusion(): Conclusion {
    const records = [...this.#records.values()]
    const results = records.map(({ model, result }) => {
      const tolerated = result?.result === 'failure' && this.#tolerates(model)
      return tolerated ? 'success' : result?.result
    })
    if (this.#cancelled && results.includes('cancelled')) return 'cancelled'
    if (results.includes('failure')) return 'failure'
    if (results.includes('cancelled')) return 'cancelled'
    if (results.length > 0 && results.every((result) => result === 'skipped')) return 'skipped'
    return 'success'
  }

  #tolerates(model: JobModel): boolean {
    try {
      const contexts = { ...runContexts(this.#options.facts), needs: this.#needsOf(model) }
      return renderBoolean(model.continueOnError, { contexts })
    } catch {
      return false
    }
  }
}

function stepsOf(model: JobModel): StepState[] {
  return ['Set up job', ...model.steps.map(titleOf), 'Complete job'].map((name, i) => ({
    number: i + 1,
    name,
    status: 'queued',
    conclusion: null,
    startedAt: null,
    completedAt: null,
    summary: '',
  }))
}
