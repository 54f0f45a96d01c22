import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Faults } from '../faults.js'
import type { LoggedRequest } from '../http.js'
import type { ActionTable } from './actions.js'
import { Apps, type GitHubAppOptions } from './apps.js'
import { type RunFacts, runContexts } from './contexts.js'
import { render, renderBoolean, type Scope } from './expressions.js'
import { GitObjects } from './gitObjects.js'
import { parseInputs } from './inputs.js'
import type { IssueState } from './issueRest.js'
import { ConcurrencyGroups, MAX_PENDING, type Slot } from './queue.js'
import { type RunLimits, WorkflowRun } from './runner.js'
import { type Conclusion, type JobState, type RunEvent, type RunState, stamp } from './state.js'
import { type Concurrency, loadWorkflow, type Workflow, WorkflowError, workflowId } from './workflow.js'

export interface GitHubOptions {
  /** `owner/name` */
  repository: string
  /** The branch that the working tree replaces; default `main`. */
  defaultBranch?: string
  /** The commit of the branch; default: invented. */
  sha?: string
  /** The bearer token that is accepted. */
  token: string
  /** A GitHub App that may mint tokens for the repository. */
  app?: GitHubAppOptions
  /** The folder of `.github/workflows`; read for every request. */
  workflowDir: string
  /** A file of the working tree for the contents API, or null. */
  readFile(path: string): Promise<Buffer | null>
  vars?: Record<string, string>
  secrets?: Record<string, string>
  actions?: ActionTable
  /** The basics of the runner machine's environment: PATH, HOME. Steps inherit nothing else of this process. */
  baseEnv?: Record<string, string>
  /** Further variables of the runner machine. */
  extraEnv?: Record<string, string>
  /** The folder of runs; their files are removed. */
  workDir: string
  faults: Faults
  /** The login that dispatches. */
  actor?: string
  /** false: a dispatch never returns the run's id, as before `return_run_details` existed. */
  runDetails?: boolean
  log?(request: LoggedRequest): void
  onRunEvent?(event: RunEvent): void
  limits?: Partial<RunLimits> & { maxPending?: number }
}

export type DispatchResult = { ok: true; run: RunState } | { ok: false; status: 404 | 422; message: string }

interface LiveRun {
  state: RunState
  run: WorkflowRun | null
  slot: Slot | null
  cancelled: boolean
  done: Promise<void>
}

/** Ids do not fit into 32 bits, as on GitHub. */
const FIRST_RUN_ID = 20_000_000_001
const FIRST_JOB_ID = 60_000_000_001

/** One repository with its workflows, its queue of runs and the runners that execute them. */
export class GitHub {
  readonly options: GitHubOptions
  readonly repository: string
  readonly branch: string
  readonly sha: string
  readonly actor: string
  readonly startedAt = stamp()
  /** Tokens of jobs (`github.token`), also accepted. */
  readonly jobToken = `ghs_${randomBytes(18).toString('hex')}`
  readonly apps: Apps | null
  /** The address of the endpoint; known after `githubEndpoint`. */
  apiUrl = 'http://127.0.0.1:0'
  /** Commits, branches and pull requests on top of the working tree. */
  readonly git: GitObjects
  readonly issues: IssueState[] = []
  readonly #live: LiveRun[] = []
  readonly #groups: ConcurrencyGroups
  readonly #numbers = new Map<string, number>()
  #nextJob = FIRST_JOB_ID
  #closed = false

  constructor(options: GitHubOptions) {
    this.options = options
    this.repository = options.repository
    this.apps = options.app ? new Apps(options.app, options.repository) : null
    this.branch = options.defaultBranch ?? 'main'
    this.sha = options.sha ?? createHash('sha1').update(`sandbox ${options.repository}`).digest('hex')
    this.actor = options.actor ?? 'clawctl-sandbox'
    this.git = new GitObjects(this)
    this.#groups = new ConcurrencyGroups(options.limits?.maxPending ?? MAX_PENDING)
  }

  /** Newest first. */
  get runs(): readonly RunState[] {
    return this.#live.map((live) => live.state).reverse()
  }

  runOf(id: number): RunState | null {
    return this.#live.find((live) => live.state.id === id)?.state ?? null
  }

  jobOf(id: number): { run: RunState; job: JobState } | null {
    for (const { state } of this.#live) {
      const job = state.jobs.find((j) => j.id === id)
      if (job) return { run: state, job }
    }
    return null
  }

  /** Paths of the current workflow files. */
  async workflowPaths(): Promise<string[]> {
    const files = await readdir(join(this.options.workflowDir, '.github/workflows')).catch(() => [])
    return files
      .filter((file) => /\.ya?ml$/.test(file))
      .sort()
      .map((file) => `.github/workflows/${file}`)
  }

  /** The workflow by file name, path or id, or null. */
  async findWorkflow(name: string): Promise<{ path: string; content: string } | null> {
    const path = (await this.workflowPaths()).find((p) => {
      return p === name || p.endsWith(`/${name}`) || String(workflowId(p)) === name
    })
    if (path === undefined) return null
    return { path, content: await readFile(join(this.options.workflowDir, path), 'utf8') }
  }

  /** True for `main`, `refs/heads/main` and the commit. */
  isRef(ref: string): boolean {
    return ref === this.branch || ref === `refs/heads/${this.branch}` || ref === this.sha
  }

  /** Starts a run, or returns GitHub's refusal. */
  async dispatch(name: string, ref: string, inputs: unknown): Promise<DispatchResult> {
    const refuse = (message: string, status: 404 | 422 = 422): DispatchResult => ({ ok: false, status, message })
    const file = await this.findWorkflow(name)
    if (!file) return refuse('Not Found', 404)
    if (!this.isRef(ref) || ref === this.sha) return refuse(`No ref found for: ${ref}`)
    let workflow: Workflow
    try {
      workflow = await loadWorkflow(file.path, file.content)
    } catch (error) {
      if (!(error instanceof WorkflowError)) throw error
      return refuse(`failed to parse workflow: ${error.problems.join('\n')}`)
    }
    if (!workflow.inputs) return refuse("Workflow does not have 'workflow_dispatch' trigger")
    const parsed = parseInputs(inputs, workflow.inputs)
    if (!parsed.ok) return refuse(parsed.message)
    if (this.#closed) return refuse('The sandbox is closing.')

    const number = (this.#numbers.get(workflow.path) ?? 0) + 1
    this.#numbers.set(workflow.path, number)
    const id = FIRST_RUN_ID + this.#live.length
    const facts: RunFacts = {
      repository: this.repository,
      ref: `refs/heads/${this.branch}`,
      refName: this.branch,
      sha: this.sha,
      actor: this.actor,
      apiUrl: this.apiUrl,
      serverUrl: this.apiUrl,
      token: this.jobToken,
      runId: id,
      runNumber: number,
      workflowName: workflow.name,
      workflowPath: workflow.path,
      eventInputs: parsed.texts,
      inputs: parsed.values,
      vars: this.options.vars ?? {},
      secrets: this.options.secrets ?? {},
    }
    const now = stamp()
    const state: RunState = {
      id,
      number,
      workflow: { id: workflowId(workflow.path), name: workflow.name, path: workflow.path },
      displayTitle: workflow.name,
      status: 'queued',
      conclusion: null,
      inputs: parsed.texts,
      createdAt: now,
      startedAt: null,
      updatedAt: now,
      jobs: [],
      messages: [],
    }
    const live: LiveRun = { state, run: null, slot: null, cancelled: false, done: Promise.resolve() }
    this.#live.push(live)
    live.done = this.#execute(live, workflow, facts).catch((error: unknown) => {
      state.messages.push((error as Error).message)
      this.#finish(live, 'failure')
    })
    return { ok: true, run: state }
  }

  async #execute(live: LiveRun, workflow: Workflow, facts: RunFacts): Promise<void> {
    const { state } = live
    const scope: Scope = { contexts: runContexts(facts) }
    const title = workflow.runName === null ? '' : render(workflow.runName, scope).trim()
    if (title !== '') state.displayTitle = title
    if (workflow.concurrency) {
      // Entered synchronously, so that the group keeps the order of the dispatches.
      const slot = this.#enter(workflow.concurrency, scope, (reason) => this.#stop(live, reason))
      live.slot = slot
      if (slot.waits) state.status = 'pending'
      this.#changed(live)
      if (!(await slot.granted)) {
        this.#finish(live, 'cancelled')
        return
      }
      state.status = 'queued'
    } else {
      this.#changed(live)
    }
    // A run is seen queued before it is seen running.
    await new Promise((resolve) => setImmediate(resolve))
    if (live.cancelled) {
      this.#finish(live, 'cancelled')
      return
    }
    const { baseEnv = {}, extraEnv = {}, actions = {}, limits = {}, onRunEvent } = this.options
    const run = new WorkflowRun({
      workflow,
      facts,
      directory: join(this.options.workDir, `run-${state.id}`),
      baseEnv: { ...baseEnv, ...extraEnv },
      actions,
      limits,
      nextJobId: () => this.#nextJob++,
      onJob: (job) => {
        state.updatedAt = stamp()
        onRunEvent?.({ type: 'job', run: state, job })
      },
      onStep: (job, step) => {
        state.updatedAt = stamp()
        onRunEvent?.({ type: 'step', run: state, job, step })
      },
      onLog: (job, line) => onRunEvent?.({ type: 'log', run: state, job, line }),
    })
    live.run = run
    state.jobs = run.jobs
    state.status = 'in_progress'
    state.startedAt = stamp()
    this.#changed(live)
    try {
      const conclusion = await run.execute()
      await run.dispose()
      this.#finish(live, conclusion)
    } finally {
      live.slot?.leave()
    }
  }

  #enter(concurrency: Concurrency, scope: Scope, cancel: (reason: string) => void): Slot & { waits: boolean } {
    const group = render(concurrency.group, scope)
    const cancelInProgress = renderBoolean(concurrency.cancelInProgress, scope)
    const waits = this.#groups.isBusy(group)
    return { ...this.#groups.enter({ group, cancelInProgress, queue: concurrency.queue, cancel }), waits }
  }

  #changed({ state }: LiveRun): void {
    state.updatedAt = stamp()
    this.options.onRunEvent?.({ type: 'run', run: state })
  }

  #finish(live: LiveRun, conclusion: Conclusion): void {
    if (live.state.status === 'completed') return
    live.slot?.leave()
    Object.assign(live.state, { status: 'completed', conclusion })
    this.#changed(live)
  }

  #stop(live: LiveRun, reason: string): void {
    if (live.state.status === 'completed') return
    live.cancelled = true
    live.state.messages.push(reason)
    if (live.run) live.run.cancel()
    else live.slot?.leave()
  }

  /** Cancels a run; false if it is over. */
  cancelRun(id: number): boolean {
    const live = this.#live.find((l) => l.state.id === id)
    if (!live || live.state.status === 'completed') return false
    this.#stop(live, `The run was canceled by @${this.actor}.`)
    return true
  }

  /** The fault "runner dies": kills the runners of this run, or of every run that is in progress. Returns the runs' ids. */
  killRunner(id?: number): number[] {
    const struck = this.#live.filter(
      (l) => l.run && l.state.status === 'in_progress' && (id === undefined || l.state.id === id),
    )
    for (const live of struck) live.run?.kill()
    return struck.map((live) => live.state.id)
  }

  /** Resolves when no run is queued or running. */
  async idle(): Promise<void> {
    let seen = -1
    while (seen !== this.#live.length) {
      seen = this.#live.length
      await Promise.all(this.#live.map((live) => live.done))
    }
  }

  /** Kills all runs, and resolves when no process and no file of them is left. */
  async close(): Promise<void> {
    this.#closed = true
    for (const live of [...this.#live].reverse()) {
      this.#stop(live, 'The sandbox is closing.')
      live.run?.abandon()
    }
    await this.idle()
    const directories = this.#live.map(({ state }) => join(this.options.workDir, `run-${state.id}`))
    await Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true })))
  }
}
