import { Diagnostic } from './diagnostic.js'
import { hasUnknown, isMapping, type Mapping, UNKNOWN, type Value } from './evaluate.js'

const STATEMENT = ['sid', 'effect', 'actions', 'resources', 'principals', 'condition']
const CONDITION = ['test', 'variable', 'values']
const PRINCIPALS = ['type', 'identifiers']

/** `data.aws_iam_policy_document`, as the provider renders it. @throws Diagnostic for unknown arguments */
export function policyDocument(address: string, body: Mapping): Value {
  only(address, body, ['statement', 'version'])
  if (hasUnknown(body)) return { json: UNKNOWN, minified_json: UNKNOWN, id: UNKNOWN }
  const statements = blocks(body.statement).map((block) => {
    only(address, block, STATEMENT)
    return {
      ...(block.sid ? { Sid: block.sid } : {}),
      Effect: block.effect ?? 'Allow',
      ...(block.actions ? { Action: oneOrMore(block.actions) } : {}),
      ...(block.resources ? { Resource: oneOrMore(block.resources) } : {}),
      ...grouped(address, 'Principal', block.principals, PRINCIPALS, ([type, identifiers]) => [
        [String(type), oneOrMore(identifiers ?? [])],
      ]),
      ...conditions(address, block.condition),
    }
  })
  const document = { Version: body.version ?? '2012-10-17', Statement: statements }
  return { json: JSON.stringify(document, null, 2), minified_json: JSON.stringify(document), id: '0' }
}

function grouped(
  address: string,
  name: string,
  value: Value | undefined,
  names: readonly string[],
  pairs: (values: (Value | undefined)[]) => [string, unknown][],
): Record<string, unknown> {
  const found = blocks(value).flatMap((block) => {
    only(address, block, names)
    need(address, block, names)
    return pairs(names.map((key) => block[key]))
  })
  return found.length === 0 ? {} : { [name]: Object.fromEntries(found) }
}

function conditions(address: string, value: Value | undefined): Record<string, unknown> {
  const all: Record<string, Record<string, unknown>> = {}
  for (const block of blocks(value)) {
    only(address, block, CONDITION)
    need(address, block, CONDITION)
    all[String(block.test)] = { ...all[String(block.test)], [String(block.variable)]: oneOrMore(block.values ?? []) }
  }
  return Object.keys(all).length === 0 ? {} : { Condition: all }
}

/** The provider writes a list of one item as the item. */
function oneOrMore(value: Value): unknown {
  const all = Array.isArray(value) || value instanceof Set ? [...value].map(String).sort() : [String(value)]
  return all.length === 1 ? all[0] : all
}

const blocks = (value: Value | undefined): Mapping[] => (Array.isArray(value) ? value.filter(isMapping) : [])

function only(address: string, body: Mapping, names: readonly string[]): void {
  const stray = Object.keys(body).find((name) => !names.includes(name))
  if (stray === undefined) return
  throw new Diagnostic('Unsupported argument', `An argument named "${stray}" is not expected here.\n  with ${address},`)
}

function need(address: string, body: Mapping, names: readonly string[]): void {
  const missing = names.find((name) => body[name] === undefined)
  if (missing === undefined) return
  const why = `The argument "${missing}" is required, but no definition was found.\n  with ${address},`
  throw new Diagnostic('Missing required argument', why)
}
