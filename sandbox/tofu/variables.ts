import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Invocation } from './args.js'
import { Diagnostic } from './diagnostic.js'
import { entries, evaluate, isMapping, toSet, type Value } from './evaluate.js'
import { type Expression, parseExpression } from './hcl.js'
import { Module } from './module.js'
import type { Stack, StackVariable } from './stack.js'

export type Variables = ReadonlyMap<string, Value>

/**
 * The values of the stack's variables: environment, then -var and -var-file in their order, then defaults; converted to
 * their types and validated.
 * @throws Diagnostic with OpenTofu's text for an undeclared, a missing or a malformed one
 */
export function readVariables(
  stack: Stack,
  given: Invocation['vars'],
  env: Readonly<Record<string, string | undefined>>,
  warn: (summary: string, detail: string) => void,
): Variables {
  const declared = new Map(stack.variables.map((variable) => [variable.name, variable]))
  const values = new Map<string, Value>()
  for (const variable of stack.variables) {
    const text = env[`TF_VAR_${variable.name}`]
    if (text !== undefined) values.set(variable.name, parseText(variable, text))
  }
  for (const { flag, value } of given) {
    if (flag === 'var-file') {
      for (const [name, read] of readVarFile(resolve(stack.dir, value))) {
        if (declared.has(name)) values.set(name, read)
        else {
          warn(
            'Value for undeclared variable',
            `The root module does not declare a variable named "${name}" but a value was found in file "${value}". If you meant to use this value, add a "variable" block to the configuration.`,
          )
        }
      }
      continue
    }
    const equals = value.indexOf('=')
    if (equals < 0) {
      throw new Diagnostic(
        `Invalid -var option`,
        `The given -var option "${value}" is not correctly specified. Must be a variable name and value separated by an equals sign, like -var="key=value".`,
      )
    }
    const name = value.slice(0, equals)
    const variable = declared.get(name)
    if (!variable) {
      throw new Diagnostic(
        'Value for undeclared variable',
        `A variable named "${name}" was assigned on the command line, but the root module does not declare a variable of that name. To use this value, add a "variable" block to the configuration.`,
      )
    }
    values.set(name, parseText(variable, value.slice(equals + 1)))
  }
  for (const variable of stack.variables) values.set(variable.name, wholeValue(variable, values.get(variable.name)))
  const module = new Module(stack, values)
  for (const { validations } of stack.variables) module.check(validations, {}, 'Invalid value for variable')
  return values
}

/** The variables of a saved plan, from JSON. */
export function restoreVariables(stack: Stack, saved: Readonly<Record<string, unknown>>): Variables {
  return new Map(stack.variables.map(({ name, type }) => [name, convert((saved[name] ?? null) as Value, type)]))
}

function wholeValue(variable: StackVariable, given: Value | undefined): Value {
  const { name, fallback, nullable, type, origin, line } = variable
  const value = given === undefined || (given === null && !nullable) ? undefined : given
  if (value === undefined && fallback === null) {
    throw new Diagnostic(
      'No value for required variable',
      `  on ${origin} line ${line}:\n  ${line}: variable "${name}" {\n\nThe root module input variable "${name}" is not set, and has no default value. Use a -var or -var-file command line argument to provide a value for this variable.`,
    )
  }
  try {
    return convert(value ?? evaluate(fallback as Expression, {}), type)
  } catch (error) {
    if (!(error instanceof Diagnostic)) throw error
    throw new Diagnostic(
      'Invalid value for input variable',
      `The given value is not suitable for var.${name} declared at ${origin}:${line}: ${error.summary}.`,
    )
  }
}

/** A string is used unchanged; another type is parsed as HCL, which includes JSON. */
function parseText({ name, type }: StackVariable, text: string): Value {
  if (type?.kind === 'name' && ['string', 'number', 'bool'].includes(type.name)) return text
  return evaluate(parseExpression(text, `<value for var.${name}>`), {})
}

/** Converts a value to its type. @throws Diagnostic with the requirement as its summary */
function convert(value: Value, type: Expression | null): Value {
  if (value === null || type === null) return value
  if (type.kind === 'name') return primitive(value, type.name)
  if (type.kind !== 'call') throw new Diagnostic('the stand-in does not know this type')
  const [inner = null] = type.args
  const list = () => {
    if (Array.isArray(value) || value instanceof Set) return [...value].map((one) => convert(one, inner))
    throw new Diagnostic(`${type.name} required`)
  }
  if (type.name === 'set') return toSet(list())
  if (type.name === 'list') return list()
  if (!isMapping(value)) throw new Diagnostic(`${type.name} required`)
  if (type.name === 'map') {
    return Object.fromEntries(entries(value, 'map').map(([key, one]) => [String(key), convert(one, inner)]))
  }
  if (type.name !== 'object' || inner?.kind !== 'object') throw new Diagnostic('the stand-in does not know this type')
  return Object.fromEntries(
    inner.items.map(([key, of]) => {
      const name = key.kind === 'literal' ? String(key.value) : ''
      const optional = of.kind === 'call' && of.name === 'optional'
      const [innerType = of, fallback] = optional ? of.args : [of]
      const given = value[name] ?? null
      if (given !== null) return [name, convert(given, innerType)]
      if (!optional && !Object.hasOwn(value, name)) throw new Diagnostic(`attribute "${name}" is required`)
      return [name, fallback ? convert(evaluate(fallback, {}), innerType) : null]
    }),
  )
}

function primitive(value: Value, type: string): Value {
  if (type === 'any') return value
  const text = typeof value === 'object' || typeof value === 'symbol' ? null : String(value)
  if (type === 'string' && text !== null) return text
  if (type === 'number' && text !== null && text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  if (type === 'bool' && (text === 'true' || text === 'false')) return text === 'true'
  throw new Diagnostic(`${type} required`)
}

function readVarFile(path: string): [string, Value][] {
  if (!existsSync(path)) {
    throw new Diagnostic('Failed to read variables file', `Given variables file ${path} does not exist.`)
  }
  const text = readFileSync(path, 'utf8')
  // A file of `name = value` lines is the content of an object.
  const read = evaluate(parseExpression(path.endsWith('.json') ? text : `{\n${text}\n}`, path), {})
  return isMapping(read) ? Object.entries(read) : []
}
