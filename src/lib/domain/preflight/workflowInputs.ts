import { ORDER_INPUTS } from '../contract/order.js'

/**
 * Inputs that a deploy workflow lacks to accept every order.
 * @returns null if its inputs can't be read
 */
export function missingInputs(workflow: string): string[] | null {
  const declared = declaredInputs(workflow)
  return declared && Object.values(ORDER_INPUTS).flatMap(({ input }) => (declared.includes(input) ? [] : [input]))
}

/**
 * The inputs that a workflow file declares under `workflow_dispatch`, read by indentation; null if the file is
 * written in another way (flow style, for example) that needs a YAML parser.
 */
export function declaredInputs(workflow: string): string[] | null {
  const lines = workflow.split(/\r?\n/).filter((line) => !/^\s*(?:#|$)/.test(line))
  const trigger = block(lines, /^workflow_dispatch:\s*(?:#.*)?$/)
  const inputs = trigger && block(trigger, /^inputs:\s*(?:#.*)?$/)
  const [first] = inputs ?? []
  if (!inputs || first === undefined) return null
  const depth = indentOf(first)
  const names = inputs
    .filter((line) => indentOf(line) === depth)
    .map((line) => /^\s*(["']?)([\w-]+)\1:/.exec(line)?.[2])
  return names.every((name) => name !== undefined) ? names : null
}

/** The lines after the first `head` line that are indented more deeply than it. */
function block(lines: readonly string[], head: RegExp): string[] | null {
  const start = lines.findIndex((line) => head.test(line.trim()))
  if (start < 0) return null
  const depth = indentOf(lines[start] ?? '')
  const below = lines.slice(start + 1)
  const end = below.findIndex((line) => indentOf(line) <= depth)
  return end < 0 ? below : below.slice(0, end)
}

const indentOf = (line: string) => line.length - line.trimStart().length
