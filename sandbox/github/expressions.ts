import { data, Evaluator, Lexer, Parser } from '@actions/expressions'

/** What a context may hold. */
export type Value = string | number | boolean | null | readonly Value[] | { readonly [key: string]: Value }

export interface Scope {
  contexts: Readonly<Record<string, Value>>
  /** The status functions; absent where GitHub does not have them. */
  status?: Status
}

interface Status {
  success: boolean
  failure: boolean
  cancelled: boolean
}

const STATUS_FUNCTIONS = ['success', 'failure', 'always', 'cancelled']

/** An expression that cannot be parsed or evaluated. */
class ExpressionFailure extends Error {
  override readonly name = 'ExpressionFailure'
}

function toData(value: Value): data.ExpressionData {
  if (value === null) return new data.Null()
  if (typeof value === 'string') return new data.StringData(value)
  if (typeof value === 'number') return new data.NumberData(value)
  if (typeof value === 'boolean') return new data.BooleanData(value)
  if (Array.isArray(value)) return new data.Array(...value.map(toData))
  return new data.Dictionary(...Object.entries(value).map(([key, entry]) => ({ key, value: toData(entry) })))
}

interface Definition {
  name: string
  minArgs: number
  maxArgs: number
  call: (...args: data.ExpressionData[]) => data.ExpressionData
}

function functionsOf(status: Status | undefined): Definition[] {
  const constant = (name: string, value: boolean): Definition => ({
    name,
    minArgs: 0,
    maxArgs: 0,
    call: () => new data.BooleanData(value),
  })
  const hashFiles: Definition = {
    name: 'hashfiles',
    minArgs: 1,
    maxArgs: 255,
    call: () => {
      throw new ExpressionFailure('The sandbox does not run hashFiles().')
    },
  }
  if (!status) return [hashFiles]
  return [
    hashFiles,
    constant('success', status.success),
    constant('failure', status.failure),
    constant('cancelled', status.cancelled),
    constant('always', true),
  ]
}

/** Evaluates one expression, without its `${{ }}`. @throws ExpressionFailure */
function evaluate(source: string, scope: Scope): data.ExpressionData {
  const functions = functionsOf(scope.status)
  try {
    const { tokens } = new Lexer(source).lex()
    const tree = new Parser(tokens, Object.keys(scope.contexts), functions).parse()
    const context = toData(scope.contexts) as data.Dictionary
    return new Evaluator(tree, context, new Map(functions.map((f) => [f.name, f]))).evaluate()
  } catch (error) {
    if (error instanceof ExpressionFailure) throw error
    throw new ExpressionFailure(`The expression \`${source.trim()}\` is not valid: ${(error as Error).message}`)
  }
}

interface Segment {
  expression: boolean
  text: string
}

/** Splits text at its `${{ }}`. A `}}` inside a quoted string does not end the expression. */
function segmentsOf(template: string): Segment[] {
  const segments: Segment[] = []
  let rest = 0
  for (;;) {
    const start = template.indexOf('${{', rest)
    if (start < 0) break
    let end = -1
    let quoted = false
    for (let i = start + 3; i < template.length; i += 1) {
      if (template[i] === "'") quoted = !quoted
      else if (!quoted && template.startsWith('}}', i)) {
        end = i
        break
      }
    }
    if (end < 0) throw new ExpressionFailure(`The expression is not closed: ${template.slice(start)}`)
    if (start > rest) segments.push({ expression: false, text: template.slice(rest, start) })
    segments.push({ expression: true, text: template.slice(start + 3, end) })
    rest = end + 2
  }
  if (rest < template.length) segments.push({ expression: false, text: template.slice(rest) })
  return segments
}

/** Text with every `${{ }}` replaced by its value. */
export function render(template: string, scope: Scope): string {
  return segmentsOf(template)
    .map((s) => (s.expression ? evaluate(s.text, scope).coerceString() : s.text))
    .join('')
}

/** Renders every value of a mapping. */
export function renderAll(templates: Readonly<Record<string, string>>, scope: Scope): Record<string, string> {
  return Object.fromEntries(Object.entries(templates).map(([key, value]) => [key, render(value, scope)]))
}

/** The number of a template, or null. */
export function renderNumber(template: string | null, scope: Scope): number | null {
  if (template === null) return null
  const text = render(template, scope).trim()
  const number = Number(text)
  if (text === '') return null
  if (!Number.isFinite(number)) throw new ExpressionFailure(`"${text}" is not a number.`)
  return number
}

/** Whether a template evaluates to `true`. */
export function renderBoolean(template: string | null, scope: Scope): boolean {
  return template !== null && render(template, scope).trim().toLowerCase() === 'true'
}

function truthy(value: data.ExpressionData): boolean {
  switch (value.kind) {
    case data.Kind.Null:
      return false
    case data.Kind.Boolean:
      return (value as data.BooleanData).value
    case data.Kind.Number: {
      const number = value.number()
      return number !== 0 && !Number.isNaN(number)
    }
    case data.Kind.String:
      return value.coerceString() !== ''
    default:
      return true
  }
}

function callsStatus(source: string): boolean {
  const tokens = new Lexer(source).lex().tokens
  return tokens.some(
    (token, i) => STATUS_FUNCTIONS.includes(token.lexeme.toLowerCase()) && tokens[i + 1]?.lexeme === '(',
  )
}

/** An `if:`. Without a status function it means `success() && (…)`. */
export function condition(template: string | null, scope: Scope): boolean {
  const success = scope.status?.success ?? true
  if (template === null || template.trim() === '') return success
  const segments = segmentsOf(template.trim())
  const bare = segments.every((s) => !s.expression)
  const only = segments.length === 1 ? segments[0] : undefined
  const source = bare ? template : only?.expression ? only.text : null
  let usesStatus: boolean
  try {
    usesStatus = source === null ? segments.some((s) => s.expression && callsStatus(s.text)) : callsStatus(source)
  } catch (error) {
    throw new ExpressionFailure(`The condition \`${template}\` is not valid: ${(error as Error).message}`)
  }
  if (!usesStatus && !success) return false
  // As on GitHub, text around `${{ }}` makes it a string, which is true unless it is empty.
  return source === null ? render(template, scope) !== '' : truthy(evaluate(source, scope))
}
