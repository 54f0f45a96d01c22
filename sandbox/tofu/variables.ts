import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { AMI_PATTERN } from '../../src/lib/domain/contract/index.js'
import type { Invocation } from './args.js'
import { Diagnostic } from './diagnostic.js'
import type { Stack, StackVariable } from './stack.js'

export type Variables = ReadonlyMap<string, unknown>

/**
 * The values of the stack's variables: environment, then -var and -var-file in their order, then defaults.
 * @throws Diagnostic for an undeclared, a missing or a malformed one, as the real OpenTofu words it
 */
export function readVariables(
  stack: Stack,
  given: Invocation['vars'],
  env: Readonly<Record<string, string | undefined>>,
  warn: (summary: string, detail: string) => void,
): Variables {
  const declared = new Map(stack.variables.map((variable) => [variable.name, variable]))
  const values = new Map<string, unknown>()
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
  for (const variable of stack.variables) {
    if (values.has(variable.name)) continue
    if (variable.required) {
      throw new Diagnostic(
        'No value for required variable',
        `  on ${variable.origin} line ${variable.line}:\n  ${variable.line}: variable "${variable.name}" {\n\nThe root module input variable "${variable.name}" is not set, and has no default value. Use a -var or -var-file command line argument to provide a value for this variable.`,
      )
    }
    values.set(variable.name, variable.fallback)
  }
  checkAmi(values.get('ami_id'))
  return values
}

/** A string as it is; any other type is written as an HCL literal, which for lists and numbers is JSON. */
function parseText(variable: StackVariable, text: string): unknown {
  if (variable.type === 'string') return text
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Diagnostic(
      'Invalid value for input variable',
      `The value for var.${variable.name} is not a literal that the stand-in reads: ${text}`,
    )
  }
  const isList = variable.type.startsWith('set(') || variable.type.startsWith('list(')
  const fits = value === null || (isList ? Array.isArray(value) : !Array.isArray(value))
  if (fits) return variable.type.startsWith('set(') && Array.isArray(value) ? [...new Set(value)].sort() : value
  throw new Diagnostic(
    'Invalid value for input variable',
    `The given value is not suitable for var.${variable.name} declared at ${variable.origin}:${variable.line}: ${variable.type} required.`,
  )
}

function readVarFile(path: string): [string, unknown][] {
  if (!existsSync(path)) {
    throw new Diagnostic('Failed to read variables file', `Given variables file ${path} does not exist.`)
  }
  const text = readFileSync(path, 'utf8')
  try {
    if (path.endsWith('.json')) return Object.entries(JSON.parse(text) as Record<string, unknown>)
    return [...text.matchAll(/^[ \t]*([A-Za-z_]\w*)[ \t]*=[ \t]*(.+?)[ \t]*$/gm)].map(([, name, value]) => [
      name ?? '',
      JSON.parse(value ?? ''),
    ])
  } catch {
    throw new Diagnostic(
      'Failed to read variables file',
      `The stand-in reads name = literal, one a line, from ${path}.`,
    )
  }
}

/** The stack's own validation of this variable; the others are not evaluated. */
function checkAmi(value: unknown): void {
  if (value === undefined || (typeof value === 'string' && AMI_PATTERN.test(value))) return
  throw new Diagnostic('Invalid value for variable', 'The AMI id is ami- and 8 or 17 hexadecimal digits.')
}
