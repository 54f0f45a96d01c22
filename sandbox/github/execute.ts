import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { loadComposite, standInFor } from './actions.js'
import { render, renderAll, type Scope } from './expressions.js'
import { type FileCommands, openFileCommands } from './fileCommands.js'
import { type Frame, type JobRuntime, logHead, processEnv, type StepResult, stepScope } from './frame.js'
import { TRACKING_VARIABLE } from './process.js'
import { shellCommand } from './shells.js'
import type { Defaults, Step } from './stepModel.js'

/** GitHub's limit of composite actions within composite actions. */
const MAX_DEPTH = 10
const NO_DEFAULTS: Defaults = { shell: null, workingDirectory: null }

/** A step that is being executed. */
export interface Execution {
  job: JobRuntime
  frame: Frame
  step: Step
  /** The `env` context with the step's own `env`. */
  env: Record<string, string>
  /** Filled by the step. */
  outputs: Record<string, string>
  stop: AbortSignal
  /** Runs a step of a composite action. */
  runStep(job: JobRuntime, frame: Frame, step: Step): Promise<StepResult>
}

/** Executes a step and returns whether it succeeded. Rejects if it can't start. */
export async function execute(execution: Execution): Promise<boolean> {
  const { job, frame, step, env, outputs, stop } = execution
  if (stop.aborted) return false
  const setOutput = (name: string, value: string) => {
    outputs[name] = value
  }
  const sink = {
    setOutput,
    setEnv: (name: string, value: string) => {
      job.env[name] = value
    },
    addPath: (directory: string) => {
      job.path.unshift(directory)
    },
    addSummary: (markdown: string) => frame.addSummary(job.masks.hide(markdown)),
  }
  const scope = stepScope(job, frame, env)
  if (step.uses === null) {
    const files = await openFileCommands(job.commandDirectory)
    job.log.onSetOutput = setOutput
    const ok = await runScript(execution, files, scope).finally(() => {
      job.log.onSetOutput = null
    })
    if (job.lost.aborted) return false
    const problems = await files.collect(sink)
    for (const problem of problems) job.log.error(problem)
    return ok && problems.length === 0
  }

  const uses = step.uses
  const inputs = renderAll(step.with, scope)
  const standIn = standInFor(uses, job.actions)
  if (standIn) {
    logHead(job, `Run ${uses} (simulated)`, [], inputs, env)
    const over = new Promise<never>((_, reject) => {
      stop.addEventListener('abort', () => reject(new Error(`${uses} was stopped.`)), { once: true })
      job.lost.addEventListener('abort', () => reject(new Error('lost')), { once: true })
    })
    const result = await Promise.race([
      standIn({
        ...sink,
        uses,
        with: inputs,
        env: processEnv(job, frame, env),
        workspace: job.places.workspace,
        signal: AbortSignal.any([stop, job.lost]),
        addMask: (value) => job.masks.add(value),
        log: (line) => job.log.output(line),
      }),
      over,
    ])
    if (!result.ok) job.log.error(result.message)
    return result.ok
  }
  if (!uses.startsWith('./')) {
    throw new Error(
      `The sandbox does not run the action ${uses}: there is no stand-in for it, and the sandbox downloads no actions.`,
    )
  }
  return await runComposite(execution, uses, inputs, scope)
}

async function runScript(execution: Execution, files: FileCommands, scope: Scope): Promise<boolean> {
  const { job, frame, step, env, stop } = execution
  const script = render(step.run ?? '', scope)
  const shell = step.shell ?? frame.defaults.shell
  const directory = step.workingDirectory ?? frame.defaults.workingDirectory
  const variables: Record<string, string> = {
    ...processEnv(job, frame, env),
    ...files.env,
    [TRACKING_VARIABLE]: job.trackingId,
  }
  const name = randomUUID()
  const command = shellCommand(
    shell === null ? null : render(shell, scope),
    (extension) => join(job.places.temp, `${name}${extension}`),
    variables.PATH ?? '',
  )
  logHead(
    job,
    `Run ${script.trimStart().split('\n')[0] ?? ''}`,
    [...script.trimEnd().split('\n'), `shell: ${command.shown}`],
    {},
    env,
  )
  await writeFile(join(job.places.temp, `${name}${command.extension}`), script.endsWith('\n') ? script : `${script}\n`)
  const code = await job.groups.run({
    file: command.file,
    args: command.args,
    cwd: resolve(job.places.workspace, directory === null ? '.' : render(directory, scope)),
    env: variables,
    onLine: (line) => job.log.output(line),
    stop,
    lost: job.lost,
    policy: job.policy,
  })
  if (stop.aborted || job.lost.aborted) return false
  if (code !== 0) job.log.error(`Process completed with exit code ${code ?? 137}.`)
  return code === 0
}

async function runComposite(
  execution: Execution,
  uses: string,
  inputs: Record<string, string>,
  scope: Scope,
): Promise<boolean> {
  const { job, frame, env, outputs, stop } = execution
  if (frame.depth >= MAX_DEPTH) throw new Error(`${uses}: composite actions are nested more than ${MAX_DEPTH} deep.`)
  const action = await loadComposite(job.places.workspace, uses)
  const given: Record<string, string> = {}
  for (const [name, input] of Object.entries(action.inputs)) {
    const key = Object.keys(inputs).find((k) => k.toLowerCase() === name.toLowerCase())
    given[name] = key === undefined ? render(input.default ?? '', scope) : (inputs[key] ?? '')
  }
  for (const name of Object.keys(inputs)) {
    if (Object.keys(action.inputs).some((n) => n.toLowerCase() === name.toLowerCase())) continue
    const valid = Object.keys(action.inputs).map((n) => `'${n}'`)
    job.log.output(`::warning::Unexpected input(s) '${name}', valid inputs are [${valid.join(', ')}]`)
  }
  logHead(job, `Run ${uses}`, [], given, env)
  const inner: Frame = {
    results: {},
    failed: false,
    defaults: NO_DEFAULTS,
    inputs: given,
    env,
    actionPath: action.directory,
    depth: frame.depth + 1,
    addSummary: frame.addSummary,
  }
  // The inner steps are stopped together with the outer one, and no further one starts.
  const bounded: JobRuntime = { ...job, force: AbortSignal.any([job.force, stop]) }
  for (const step of action.steps) {
    if (job.lost.aborted || stop.aborted) return false
    await execution.runStep(bounded, inner, step)
  }
  const innerScope = stepScope(job, inner, { ...job.env, ...env })
  Object.assign(outputs, renderAll(action.outputs, innerScope))
  return !inner.failed
}
