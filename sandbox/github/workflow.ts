import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } from '@actions/workflow-parser'
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { type Defaults, defaultsOf, entries, type Step, stepOf, text, textMap, textOrNull } from './stepModel.js'

const INPUT_TYPES = ['string', 'boolean', 'choice', 'number', 'environment'] as const

export interface WorkflowInput {
  required: boolean
  default: string | null
  type: (typeof INPUT_TYPES)[number]
  options: string[]
}

/** `group` and `cancelInProgress` may contain expressions. */
export interface Concurrency {
  group: string
  cancelInProgress: string
  queue: 'single' | 'max'
}

export interface JobModel {
  key: string
  name: string | null
  needs: string[]
  if: string | null
  runsOn: string[]
  env: Record<string, string>
  defaults: Defaults
  outputs: Record<string, string>
  timeoutMinutes: string | null
  continueOnError: string | null
  steps: Step[]
}

/** A workflow file as the sandbox runs it. Every text may contain `${{ }}`. */
export interface Workflow {
  /** Below the repository's root, with slashes. */
  path: string
  name: string
  runName: string | null
  /** Null if the workflow can't be dispatched. */
  inputs: Record<string, WorkflowInput> | null
  env: Record<string, string>
  defaults: Defaults
  concurrency: Concurrency | null
  jobs: JobModel[]
}

/** A workflow file that GitHub would refuse, or that the sandbox cannot run. */
export class WorkflowError extends Error {
  override readonly name = 'WorkflowError'
  readonly path: string
  readonly problems: readonly string[]

  constructor(path: string, problems: readonly string[]) {
    super(`${path} is not a workflow that can be run:\n${problems.map((p) => `  ${p}`).join('\n')}`)
    this.path = path
    this.problems = problems
  }
}

/** A constant number for a workflow's path. */
export function workflowId(path: string): number {
  return 100_000_000 + (createHash('sha1').update(path).digest().readUInt32BE(0) % 100_000_000)
}

const UNSUPPORTED_JOB_KEYS = ['strategy', 'services', 'container', 'concurrency', 'uses', 'snapshot']
const UNSUPPORTED_STEP_KEYS = ['background', 'wait', 'wait-all', 'cancel', 'parallel']

/** Reads a workflow file with GitHub's own parser. @throws WorkflowError with `line:column: what` for every problem. */
export async function loadWorkflow(path: string, content: string): Promise<Workflow> {
  const parsed = parseWorkflow({ name: basename(path), content }, new NoOperationTraceWriter())
  const errors = () =>
    parsed.context.errors.getErrors().map((e) => {
      const at = e.range ? `${e.range.start.line}:${e.range.start.column}: ` : ''
      return `${at}${e.rawMessage}`
    })
  if (errors().length > 0 || !parsed.value) throw new WorkflowError(path, errors())
  await convertWorkflowTemplate(parsed.context, parsed.value)
  if (errors().length > 0) throw new WorkflowError(path, errors())

  const lines = new LineCounter()
  const document = parseDocument(content, { lineCounter: lines })
  const root = entries(document.toJS())
  const jobs = Object.entries(entries(root.jobs))
  const problems: string[] = []
  const refuse = (keys: string[]) => {
    const parent = document.getIn(keys.slice(0, -1).map(indexOrKey), true)
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === keys.at(-1))
      : null
    const at = isScalar(pair?.key) && pair.key.range ? lines.linePos(pair.key.range[0]) : null
    problems.push(`${at ? `${at.line}:${at.col}: ` : ''}the sandbox does not run ${keys.join('.')}`)
  }
  for (const [key, job] of jobs) {
    for (const bad of UNSUPPORTED_JOB_KEYS) if (bad in entries(job)) refuse(['jobs', key, bad])
    for (const [i, step] of list(entries(job).steps).entries()) {
      for (const bad of UNSUPPORTED_STEP_KEYS) if (bad in entries(step)) refuse(['jobs', key, 'steps', String(i), bad])
    }
  }
  if (problems.length > 0) throw new WorkflowError(path, problems)

  return {
    path,
    name: textOrNull(root.name) ?? path,
    runName: textOrNull(root['run-name']),
    inputs: dispatchInputs(root.on),
    env: textMap(root.env),
    defaults: defaultsOf(root.defaults),
    concurrency: concurrencyOf(root.concurrency),
    jobs: jobs.map(([key, job]) => jobOf(key, entries(job))),
  }
}

function indexOrKey(key: string): string | number {
  return /^\d+$/.test(key) ? Number(key) : key
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]
}

function dispatchInputs(on: unknown): Record<string, WorkflowInput> | null {
  if (typeof on === 'string' || Array.isArray(on)) return list(on).includes('workflow_dispatch') ? {} : null
  if (!('workflow_dispatch' in entries(on))) return null
  const inputs = entries(entries(entries(on).workflow_dispatch).inputs)
  return Object.fromEntries(
    Object.entries(inputs).map(([name, raw]) => {
      const input = entries(raw)
      const type = INPUT_TYPES.find((t) => t === input.type) ?? 'string'
      const options = list(input.options).map(text)
      return [name, { required: input.required === true, default: textOrNull(input.default), type, options }]
    }),
  )
}

function concurrencyOf(value: unknown): Concurrency | null {
  if (value === undefined || value === null) return null
  if (typeof value !== 'object') return { group: text(value), cancelInProgress: 'false', queue: 'single' }
  const mapping = entries(value)
  return {
    group: text(mapping.group),
    cancelInProgress: textOrNull(mapping['cancel-in-progress']) ?? 'false',
    queue: mapping.queue === 'max' ? 'max' : 'single',
  }
}

function jobOf(key: string, job: Record<string, unknown>): JobModel {
  const runsOn = job['runs-on']
  const labels = Array.isArray(runsOn) || typeof runsOn !== 'object' ? runsOn : entries(runsOn).labels
  return {
    key,
    name: textOrNull(job.name),
    needs: list(job.needs).map(text),
    if: textOrNull(job.if),
    runsOn: list(labels).map(text),
    env: textMap(job.env),
    defaults: defaultsOf(job.defaults),
    outputs: textMap(job.outputs),
    timeoutMinutes: textOrNull(job['timeout-minutes']),
    continueOnError: textOrNull(job['continue-on-error']),
    steps: list(job.steps).map((step) => stepOf(entries(step))),
  }
}
