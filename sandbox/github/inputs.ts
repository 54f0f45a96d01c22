import type { Value } from './expressions.js'
import { entries } from './stepModel.js'
import type { WorkflowInput } from './workflow.js'

/** GitHub's limit of a dispatch. */
const MAX_INPUTS = 25

type ParsedInputs =
  | { ok: true; texts: Record<string, string>; values: Record<string, Value> }
  | { ok: false; message: string }

/** Checks the inputs of a dispatch as GitHub does, fills in the defaults, and types them for the `inputs` context. */
export function parseInputs(given: unknown, declared: Readonly<Record<string, WorkflowInput>>): ParsedInputs {
  const fail = (message: string): ParsedInputs => ({ ok: false, message })
  if (given !== undefined && given !== null && (typeof given !== 'object' || Array.isArray(given))) {
    return fail("Invalid request.\n\nFor 'properties/inputs', the value is not an object.")
  }
  const sent = entries(given)
  const names = Object.keys(sent)
  if (names.length > MAX_INPUTS)
    return fail(`you may only define up to ${MAX_INPUTS} \`inputs\` for a \`workflow_dispatch\` event`)
  const known = new Map(Object.keys(declared).map((name) => [name.toLowerCase(), name]))
  const unexpected = names.filter((name) => !known.has(name.toLowerCase()))
  if (unexpected.length > 0) return fail(`Unexpected inputs provided: ${JSON.stringify(unexpected)}`)

  const texts: Record<string, string> = {}
  const values: Record<string, Value> = {}
  for (const [name, input] of Object.entries(declared)) {
    const raw = sent[names.find((n) => n.toLowerCase() === name.toLowerCase()) ?? name]
    if (raw !== undefined && raw !== null && !['string', 'number', 'boolean'].includes(typeof raw)) {
      return fail(`Invalid request.\n\nFor 'properties/inputs/${name}', ${JSON.stringify(raw)} is not a string.`)
    }
    const value = raw === undefined || raw === null ? null : String(raw)
    if (input.required && (value ?? input.default ?? '') === '') return fail(`Required input '${name}' not provided`)
    const text = value ?? input.default ?? (input.type === 'boolean' ? 'false' : '')
    if (value !== null && input.type === 'choice' && !input.options.includes(text)) {
      return fail(`Provided value '${text}' for input '${name}' not in the list of allowed values`)
    }
    if (input.type === 'boolean' && !['true', 'false'].includes(text.toLowerCase())) {
      return fail(`Provided value '${text}' for input '${name}' is not a boolean`)
    }
    if (input.type === 'number' && text !== '' && !Number.isFinite(Number(text))) {
      return fail(`Provided value '${text}' for input '${name}' is not a number`)
    }
    texts[name] = text
    if (input.type === 'boolean') values[name] = text.toLowerCase() === 'true'
    else if (input.type === 'number' && text !== '') values[name] = Number(text)
    else values[name] = text
  }
  return { ok: true, texts, values }
}
