import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { NoOperationTraceWriter } from '@actions/workflow-parser'
import { parseAction } from '@actions/workflow-parser/actions/action-parser'
import { parse } from 'yaml'
import { entries, type Step, stepOf, text, textOrNull } from './stepModel.js'

export interface ActionContext {
  /** As in the workflow, with `@ref`. */
  uses: string
  with: Record<string, string>
  env: Record<string, string>
  workspace: string
  /** Aborted when the step has to stop. */
  signal: AbortSignal
  setEnv(name: string, value: string): void
  addPath(directory: string): void
  setOutput(name: string, value: string): void
  addMask(value: string): void
  log(line: string): void
}

export type ActionResult = { ok: true } | { ok: false; message: string }

/** A stand-in for an action; a rejection fails the step too. */
export type ActionStandIn = (context: ActionContext) => Promise<ActionResult>

/** By `owner/repo`, without `@ref`, or by local path (`./.github/actions/x`). */
export type ActionTable = Readonly<Record<string, ActionStandIn>>

export function standInFor(uses: string, table: ActionTable): ActionStandIn | null {
  const name = (uses.split('@')[0] ?? '').replace(/\/$/, '').toLowerCase()
  const key = Object.keys(table).find((k) => k.toLowerCase() === name)
  return (key === undefined ? undefined : table[key]) ?? null
}

export interface CompositeAction {
  directory: string
  inputs: Record<string, { default: string | null; required: boolean }>
  outputs: Record<string, string>
  steps: Step[]
}

/** Reads a local composite action. @throws Error with its problems */
export async function loadComposite(workspace: string, uses: string): Promise<CompositeAction> {
  const directory = join(workspace, uses)
  let content: string | null = null
  for (const name of ['action.yml', 'action.yaml']) {
    content ??= await readFile(join(directory, name), 'utf8').catch(() => null)
  }
  if (content === null) {
    throw new Error(
      `Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '${directory}'. ` +
        'Did you forget to run actions/checkout before running your local action?',
    )
  }
  const parsed = parseAction({ name: `${uses}/action.yml`, content }, new NoOperationTraceWriter())
  const problems = parsed.context.errors.getErrors().map((e) => {
    return `${e.range ? `${e.range.start.line}:${e.range.start.column}: ` : ''}${e.rawMessage}`
  })
  if (problems.length > 0) throw new Error(`${uses}/action.yml is not valid: ${problems.join('; ')}`)
  const root = entries(parse(content))
  const runs = entries(root.runs)
  if (runs.using !== 'composite') {
    throw new Error(`The sandbox does not run ${uses}: runs.using is ${text(runs.using)}, only composite is run.`)
  }
  return {
    directory,
    inputs: Object.fromEntries(
      Object.entries(entries(root.inputs)).map(([name, input]) => [
        name,
        { default: textOrNull(entries(input).default), required: entries(input).required === true },
      ]),
    ),
    outputs: Object.fromEntries(
      Object.entries(entries(root.outputs)).map(([name, output]) => [name, text(entries(output).value)]),
    ),
    steps: (Array.isArray(runs.steps) ? runs.steps : []).map((step: unknown) => stepOf(entries(step))),
  }
}
