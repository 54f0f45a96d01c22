import { existsSync, readFileSync } from 'node:fs'
import { Diagnostic } from './diagnostic.js'
import { type Body, type Expression, parseTemplate } from './hcl.js'

/** A value that is only known after the apply, such as the id of a new resource. Values that depend on it are unknown, too. */
export const UNKNOWN = Symbol('known after apply')

/** Sets are sorted. */
export type Value = string | number | boolean | null | typeof UNKNOWN | Value[] | Set<Value> | { [name: string]: Value }
export type Mapping = { [name: string]: Value }
/** The values of names: `var`, `local`, `each`, types of resources. May be getters, which are evaluated on access. */
export type Scope = { readonly [name: string]: Value }

export const isMapping = (value: Value): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Set)

/** @throws Diagnostic with OpenTofu's text, or with the name of a construct that the stand-in does not evaluate */
export function evaluate(expression: Expression, scope: Scope): Value {
  switch (expression.kind) {
    case 'literal':
      return expression.value
    case 'template':
      return template(expression.parts.map((part) => evaluate(part, scope)))
    case 'name':
      if (Object.hasOwn(scope, expression.name)) return scope[expression.name] as Value
      throw new Diagnostic('Invalid reference', `There is nothing called "${expression.name}" here.`)
    case 'get':
      return get(expression, scope)
    case 'call':
      return call(expression, scope)
    case 'unary':
      return unary(expression.operator, evaluate(expression.of, scope))
    case 'binary':
      return binary(expression.operator, evaluate(expression.left, scope), () => evaluate(expression.right, scope))
    case 'condition': {
      const test = evaluate(expression.test, scope)
      return test === UNKNOWN ? UNKNOWN : evaluate(truth(test) ? expression.yes : expression.no, scope)
    }
    case 'tuple':
      return expression.items.map((item) => evaluate(item, scope))
    case 'object':
      return Object.fromEntries(
        expression.items.map(([key, value]) => [text(evaluate(key, scope), 'a key'), evaluate(value, scope)]),
      )
    case 'for':
      return loop(expression, scope)
  }
}

const META = new Set(['for_each', 'depends_on', 'lifecycle'])
const REFUSED = ['count', 'provider', 'provisioner', 'connection', 'timeouts']

/** Arguments with values, blocks as lists of objects, `dynamic` blocks unrolled. Meta-arguments are left out. */
export function evaluateBody(body: Body, scope: Scope): Mapping {
  const result: Mapping = {}
  for (const { name, value } of body.attributes) {
    refuse(name)
    if (!META.has(name)) result[name] = evaluate(value, scope)
  }
  const add = (type: string, value: Mapping) => {
    const others = result[type]
    result[type] = [...(Array.isArray(others) ? others : []), value]
  }
  for (const block of body.blocks) {
    refuse(block.type)
    const [label = ''] = block.labels
    if (META.has(block.type)) continue
    if (block.type !== 'dynamic') {
      add(block.type, evaluateBody(block.body, scope))
      continue
    }
    const each = block.body.attributes.find(({ name }) => name === 'for_each')
    const content = block.body.blocks.find(({ type }) => type === 'content')
    if (!each || !content || block.body.attributes.length > 1) {
      throw new Diagnostic(
        'Unsupported dynamic block',
        `The stand-in reads for_each and content of dynamic "${label}".`,
      )
    }
    for (const [key, value] of entries(evaluate(each.value, scope), 'for_each')) {
      add(label, evaluateBody(content.body, { ...scope, [label]: { key, value } }))
    }
  }
  return result
}

function refuse(name: string): void {
  if (!REFUSED.includes(name)) return
  throw new Diagnostic(`The stand-in of the clawctl sandbox does not model "${name}"`)
}

/** The references of an expression, as `var.x`, `local.x`, `data.type.name` and `type.name`. */
export function references(of: Expression | Body): Set<string> {
  const found = new Set<string>()
  const path = (expression: Expression): string[] | null => {
    if (expression.kind === 'name') return [expression.name]
    if (expression.kind !== 'get') return null
    const inner = path(expression.of)
    const { key } = expression
    return inner && key.kind === 'literal' ? [...inner, String(key.value)] : inner
  }
  const visit = (part: unknown): void => {
    if (typeof part !== 'object' || part === null) return
    const expression = part as Expression
    if (expression.kind === 'get') {
      const names = path(expression)
      if (names) found.add(names.slice(0, names[0] === 'data' ? 3 : 2).join('.'))
    }
    Object.values(part).forEach(visit)
  }
  visit(of)
  return found
}

function get({ of, key }: Extract<Expression, { kind: 'get' }>, scope: Scope): Value {
  const container = evaluate(of, scope)
  const name = evaluate(key, scope)
  if (container === UNKNOWN || name === UNKNOWN) return UNKNOWN
  if (container === null) throw new Diagnostic('Attempt to get attribute from null value')
  if (Array.isArray(container)) {
    const item = container[Number(name)]
    if (item !== undefined) return item
  } else if (isMapping(container)) {
    if (Object.hasOwn(container, String(name))) return container[String(name)] as Value
  }
  if (of.kind === 'name' || (of.kind === 'get' && of.of.kind === 'name' && of.of.name === 'data')) {
    const path = of.kind === 'name' ? of.name : 'data.…'
    throw new Diagnostic('Reference to undeclared object', `There is no ${path}.${String(name)} in the configuration.`)
  }
  throw new Diagnostic('Unsupported attribute', `This object does not have an element ${JSON.stringify(name)}.`)
}

function template(parts: readonly Value[]): Value {
  if (parts.includes(UNKNOWN)) return UNKNOWN
  return parts.map((part) => text(part, 'a part of a template')).join('')
}

function text(value: Value, what: string): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value)
  const is = value === null ? 'null' : value === UNKNOWN ? 'unknown' : 'no string'
  throw new Diagnostic('Invalid template interpolation value', `A string is required as ${what}, and it is ${is}.`)
}

function truth(value: Value): boolean {
  if (typeof value === 'boolean') return value
  throw new Diagnostic('Incorrect condition type', 'The condition expression must be of type bool.')
}

function unary(operator: string, value: Value): Value {
  if (value === UNKNOWN) return UNKNOWN
  return operator === '!' ? !truth(value) : -number(value)
}

function number(value: Value): number {
  if (typeof value === 'number') return value
  throw new Diagnostic('Invalid operand', 'A number is required.')
}

const NUMERIC: Readonly<Record<string, (a: number, b: number) => Value>> = {
  ...{ '+': (a, b) => a + b, '-': (a, b) => a - b, '*': (a, b) => a * b, '/': (a, b) => a / b, '%': (a, b) => a % b },
  ...{ '<': (a, b) => a < b, '>': (a, b) => a > b, '<=': (a, b) => a <= b, '>=': (a, b) => a >= b },
}

function binary(operator: string, left: Value, later: () => Value): Value {
  if (operator === '&&' && left === false) return false
  if (operator === '||' && left === true) return true
  const right = later()
  if (left === UNKNOWN || right === UNKNOWN) return UNKNOWN
  if (operator === '&&' || operator === '||') return truth(right)
  const compute = NUMERIC[operator]
  if (compute) return compute(number(left), number(right))
  return same(left, right) === (operator === '==')
}

export function same(a: Value, b: Value): boolean {
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b))
}

/** As JSON: sets become lists, keys are sorted, unknown parts of objects are left out. */
export function plain(value: Value): unknown {
  if (value === UNKNOWN) return undefined
  if (value instanceof Set) return [...value].map(plain)
  if (Array.isArray(value)) return value.map(plain)
  if (!isMapping(value)) return value
  return Object.fromEntries(sorted(value).map(([key, one]) => [key, plain(one)]))
}

const sorted = (value: Mapping) => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))

/** Whether anything in it is unknown. */
export function hasUnknown(value: Value): boolean {
  if (value === UNKNOWN) return true
  if (value instanceof Set || Array.isArray(value)) return [...value].some(hasUnknown)
  return isMapping(value) && Object.values(value).some(hasUnknown)
}

/** The entries of a map; for a set, each value is also its key. */
export function entries(value: Value, what: string): [key: Value, value: Value][] {
  if (value instanceof Set) return [...value].map((one) => [one, one])
  if (Array.isArray(value)) return value.map((one, index) => [index, one])
  if (isMapping(value)) return sorted(value)
  throw new Diagnostic(`Invalid ${what} argument`, 'A map, a set or a list is required.')
}

function loop(expression: Extract<Expression, { kind: 'for' }>, scope: Scope): Value {
  const { names, of, key, value, test, group } = expression
  const all = evaluate(of, scope)
  if (all === UNKNOWN) return UNKNOWN
  const inner = entries(all, 'for').map(([k, v]): Scope => {
    const [first = '', second] = names
    return second === undefined ? { ...scope, [first]: v } : { ...scope, [first]: k, [second]: v }
  })
  const kept = inner.filter((each) => test === null || truth(evaluate(test, each)))
  if (key === null) return kept.map((each) => evaluate(value, each))
  const result: Mapping = {}
  for (const each of kept) {
    const name = text(evaluate(key, each), 'a key')
    const one = evaluate(value, each)
    const others = result[name]
    if (group) result[name] = [...(Array.isArray(others) ? others : []), one]
    else if (others !== undefined) throw new Diagnostic('Duplicate object key', `Two items have the key "${name}".`)
    else result[name] = one
  }
  return result
}

/** A set's items are unique and sorted. */
export function toSet(items: readonly Value[]): Set<Value> {
  return new Set([...new Set(items)].sort((a, b) => (String(a) < String(b) ? -1 : 1)))
}

const items = (value: Value | undefined): Value[] => {
  if (Array.isArray(value) || value instanceof Set) return [...value]
  throw new Diagnostic('Invalid function argument', 'A list or a set is required.')
}
const mapping = (value: Value | undefined): Mapping => {
  if (value !== undefined && isMapping(value)) return value
  throw new Diagnostic('Invalid function argument', 'A map or an object is required.')
}
const string = (value: Value | undefined) => text(value ?? null, 'an argument')

/** OpenTofu's functions that the fleet stack uses, and some related ones. */
const FUNCTIONS: Readonly<Record<string, (...args: Value[]) => Value>> = {
  alltrue: (list) => items(list).every(truth),
  anytrue: (list) => items(list).some(truth),
  coalesce: (...args) => args.find((arg) => arg !== null && arg !== '') ?? null,
  compact: (list) => items(list).filter((item) => item !== null && item !== ''),
  concat: (...lists) => lists.flatMap(items),
  contains: (list, value) => items(list).some((item) => same(item, value as Value)),
  distinct: (list) => [...new Set(items(list))],
  endswith: (whole, end) => string(whole).endsWith(string(end)),
  file: (path) => readText(string(path)),
  join: (separator, list) => items(list).map(string).join(string(separator)),
  jsondecode: (json) => JSON.parse(string(json)) as Value,
  jsonencode: (value) => JSON.stringify(plain(value as Value)),
  keys: (map) => sorted(mapping(map)).map(([key]) => key),
  length: (value) => (typeof value === 'string' ? value.length : entries(value as Value, 'length').length),
  lookup(map, key, fallback) {
    const all = mapping(map)
    if (Object.hasOwn(all, string(key))) return all[string(key)] as Value
    if (fallback !== undefined) return fallback
    throw new Diagnostic('Error in function call', `lookup failed to find key "${string(key)}".`)
  },
  merge: (...maps) => Object.assign({}, ...maps.filter((map) => map !== null).map(mapping)),
  regex(pattern, whole) {
    const found = new RegExp(string(pattern), 'u').exec(string(whole))
    if (!found) throw new Diagnostic('Error in function call', 'pattern did not match any part of the given string.')
    return found.length > 1 ? found.slice(1).map((group) => group ?? null) : found[0]
  },
  setsubtract: (from, what) => toSet(items(from).filter((item) => !items(what).includes(item))),
  setunion: (...sets) => toSet(sets.flatMap(items)),
  split: (separator, whole) => string(whole).split(string(separator)),
  startswith: (whole, start) => string(whole).startsWith(string(start)),
  templatefile(path, variables) {
    const name = string(path)
    return evaluate(parseTemplate(readText(name), name), mapping(variables))
  },
  tolist: (list) => items(list),
  toset: (list) => toSet(items(list)),
  tostring: (value) => (value === null || value === undefined ? null : string(value)),
  values: (map) => sorted(mapping(map)).map(([, value]) => value),
}
/** Their result is known even if an argument has unknown parts. */
const LAZY = new Set(['keys', 'length', 'lookup', 'merge', 'tolist', 'values', 'concat'])

function call({ name, args, expand }: Extract<Expression, { kind: 'call' }>, scope: Scope): Value {
  if (name === 'can' || name === 'try') return attempt(name, args, scope)
  const known = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined
  if (!known) {
    throw new Diagnostic(
      `The stand-in of the clawctl sandbox does not evaluate the function ${name}`,
      `It has ${[...Object.keys(FUNCTIONS), 'can', 'try'].sort().join(', ')}.`,
    )
  }
  const given = args.map((arg) => evaluate(arg, scope))
  const last = given.at(-1)
  if (expand && last === UNKNOWN) return UNKNOWN
  const all = expand ? [...given.slice(0, -1), ...items(last)] : given
  if (all.includes(UNKNOWN) || (!LAZY.has(name) && all.some(hasUnknown))) return UNKNOWN
  try {
    return known(...all)
  } catch (error) {
    if (error instanceof Diagnostic) throw error
    throw new Diagnostic('Error in function call', `Call to function "${name}" failed: ${(error as Error).message}.`)
  }
}

function attempt(name: 'can' | 'try', args: readonly Expression[], scope: Scope): Value {
  for (const arg of args) {
    try {
      const value = evaluate(arg, scope)
      return name === 'try' || value === UNKNOWN ? value : true
    } catch (error) {
      if (!(error instanceof Diagnostic)) throw error
    }
  }
  if (name === 'can') return false
  throw new Diagnostic('Error in function call', 'Call to function "try" failed: no expression succeeded.')
}

function readText(path: string): string {
  if (existsSync(path)) return readFileSync(path, 'utf8')
  throw new Diagnostic('Invalid function argument', `no file exists at "${path}".`)
}
