import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Diagnostic } from './diagnostic.js'
import { evaluate, references } from './evaluate.js'
import { type Attribute, type Block, type Body, type Expression, parseFile } from './hcl.js'
import { TYPES } from './schema.js'

export interface StackVariable {
  name: string
  /** A constraint such as set(string); null for any. */
  type: Expression | null
  /** Null: there is no default, so a value is required. */
  fallback: Expression | null
  /** Whether null is allowed. */
  nullable: boolean
  validations: readonly Check[]
  /** File and line of the declaration, for messages. */
  origin: string
  line: number
}

/** A validation or a precondition. */
export interface Check {
  condition: Expression
  message: Expression
}

/** A resource or a data source as declared, before for_each. */
export interface Configured {
  type: string
  name: string
  body: Body
  forEach: Expression | null
  preconditions: readonly Check[]
  /** Names of lifecycle.ignore_changes, or all. */
  ignores: 'all' | readonly string[]
  /** `type.name` of the resources to which it refers, also through locals and data sources. */
  dependsOn: readonly string[]
}

export interface Import {
  forEach: Expression | null
  to: Expression
  id: Expression
}

/** The declarations of the stack's files. */
export interface Stack {
  dir: string
  variables: readonly StackVariable[]
  locals: ReadonlyMap<string, Expression>
  /** By `type.name`, dependencies first. Resources without dependents come last, so that a missing depends_on has an effect. */
  resources: ReadonlyMap<string, Configured>
  /** By `type.name`. */
  data: ReadonlyMap<string, Configured>
  outputs: ReadonlyMap<string, Expression>
  imports: readonly Import[]
  /** Arguments of `backend "s3"`; null without an S3 backend. */
  backend: ReadonlyMap<string, string> | null
  /** The provider's region. */
  region: Expression | null
}

const LITERAL_SCOPE = {}

/** @throws Diagnostic for a folder without a stack, and for blocks, types and arguments that the stand-in does not support */
export function readStack(dir: string): Stack {
  const files = existsSync(dir) ? readdirSync(dir).filter((name) => /\.tf(?:\.json)?$/.test(name)) : []
  if (files.length === 0) {
    throw new Diagnostic('No configuration files', `The directory ${dir} contains no OpenTofu configuration files.`)
  }
  const blocks = files.flatMap((file) => {
    if (file.endsWith('.json')) throw refusal(file, 'does not read JSON configuration', '')
    const { attributes, blocks } = parseFile(readFileSync(join(dir, file), 'utf8'), file)
    const [stray] = attributes
    if (stray) throw new Diagnostic('Unsupported argument', `on ${file} line ${stray.line}: ${stray.name}`)
    return blocks.map((block) => ({ ...block, file }))
  })
  const of = (type: string) => blocks.filter((block) => block.type === type)
  const unknown = blocks.find(({ type }) => !KNOWN_BLOCKS.has(type))
  if (unknown) throw refusal(unknown.file, `does not model "${unknown.type}" blocks`, `, line ${unknown.line}`)
  const locals = new Map(of('locals').flatMap(({ body }) => body.attributes.map(({ name, value }) => [name, value])))
  const data = new Map(of('data').map((block) => [block.labels.join('.'), configured(block)]))
  const resources = new Map(of('resource').map((block) => [block.labels.join('.'), configured(block)]))
  const s3 = of('terraform')
    .flatMap(({ body }) => body.blocks)
    .find(({ type, labels }) => type === 'backend' && labels[0] === 's3')
  return {
    dir,
    variables: of('variable').map((block) => variable(block, block.file)),
    locals,
    data,
    resources: inOrder(resources, { locals, data }),
    outputs: new Map(of('output').map((block) => [block.labels[0] ?? '', required(block.body, 'value')])),
    imports: of('import').map(({ body }) => ({
      forEach: find(body, 'for_each'),
      to: required(body, 'to'),
      id: required(body, 'id'),
    })),
    backend: s3
      ? new Map(s3.body.attributes.map(({ name, value }) => [name, String(evaluate(value, LITERAL_SCOPE))]))
      : null,
    region: find(of('provider')[0]?.body, 'region'),
  }
}

const KNOWN_BLOCKS = new Set(['terraform', 'provider', 'variable', 'locals', 'resource', 'data', 'output', 'import'])

function refusal(file: string, what: string, where: string): Diagnostic {
  return new Diagnostic(
    `The stand-in of the clawctl sandbox ${what}`,
    `In ${file}${where}. It models what the fleet stack uses. Install the real OpenTofu for anything else.`,
  )
}

const find = (body: Body | undefined, name: string): Expression | null =>
  body?.attributes.find((attribute: Attribute) => attribute.name === name)?.value ?? null

function required(body: Body, name: string): Expression {
  const value = find(body, name)
  if (value) return value
  throw new Diagnostic('Missing required argument', `The argument "${name}" is required, but no definition was found.`)
}

function checks(blocks: readonly Block[], type: string): Check[] {
  return blocks
    .filter((block) => block.type === type)
    .map(({ body }) => ({ condition: required(body, 'condition'), message: required(body, 'error_message') }))
}

function configured(block: Block & { file: string }): Configured {
  const [type = '', name = ''] = block.labels
  const { body } = block
  if (!(block.type === 'data' ? DATA_TYPES.has(type) : Object.hasOwn(TYPES, type))) {
    throw refusal(block.file, `does not model ${block.type} "${type}"`, `, line ${block.line}`)
  }
  const lifecycle = body.blocks.filter((inner) => inner.type === 'lifecycle')
  const stray = lifecycle.flatMap((inner) => [
    ...inner.body.attributes.map((a) => a.name),
    ...inner.body.blocks.map((b) => b.type),
  ])
  const unread = stray.find((word) => word !== 'ignore_changes' && word !== 'precondition')
  if (unread) throw refusal(block.file, `does not model lifecycle.${unread}`, `, line ${block.line}`)
  const ignored = lifecycle.map((inner) => find(inner.body, 'ignore_changes')).find((value) => value !== null)
  return {
    type,
    name,
    body,
    forEach: find(body, 'for_each'),
    preconditions: checks(
      lifecycle.flatMap((inner) => inner.body.blocks),
      'precondition',
    ),
    ignores: ignored ? ignoredNames(ignored) : [],
    dependsOn: [],
  }
}

/** Names, not values: `all`, or the attributes of a list. */
function ignoredNames(value: Expression): 'all' | string[] {
  if (value.kind === 'name') return value.name === 'all' ? 'all' : [value.name]
  return value.kind === 'tuple' ? value.items.flatMap((item) => (item.kind === 'name' ? [item.name] : [])) : []
}

/** The arguments that the stand-in computes of each data source. */
const DATA_TYPES = new Set(['aws_partition', 'aws_iam_policy_document'])

function variable(block: Block, file: string): StackVariable {
  const { body } = block
  const nullable = find(body, 'nullable')
  return {
    name: block.labels[0] ?? '',
    type: find(body, 'type'),
    fallback: find(body, 'default'),
    nullable: nullable === null || evaluate(nullable, LITERAL_SCOPE) === true,
    validations: checks(body.blocks, 'validation'),
    origin: file,
    line: block.line,
  }
}

/** Depth first, in reverse alphabetical order: each resource comes before those that refer to it. */
function inOrder(
  resources: ReadonlyMap<string, Configured>,
  { locals, data }: Pick<Stack, 'locals' | 'data'>,
): Map<string, Configured> {
  const needs = (part: Expression | Body, seen: Set<string>): string[] =>
    [...references(part)].flatMap((reference) => {
      if (resources.has(reference)) return [reference]
      if (seen.has(reference)) return []
      seen.add(reference)
      const [root, ...rest] = reference.split('.')
      const inner =
        root === 'local' ? locals.get(rest[0] ?? '') : root === 'data' ? data.get(rest.join('.'))?.body : null
      return inner ? needs(inner, seen) : []
    })
  for (const [name, part] of [...locals, ...[...data].map(([name, { body }]) => [`data.${name}`, body] as const)]) {
    if (needs(part, new Set()).length === 0) continue
    throw new Diagnostic(
      'The stand-in of the clawctl sandbox evaluates locals and data sources before resources',
      `${name} refers to a resource.`,
    )
  }
  const ordered = new Map<string, Configured>()
  const open = new Set<string>()
  const visit = (address: string) => {
    const resource = resources.get(address)
    if (!resource || ordered.has(address)) return
    if (open.has(address)) throw new Diagnostic('Cycle', [...open, address].join(', '))
    open.add(address)
    const dependsOn = [...new Set(needs(resource.body, new Set()))].sort()
    dependsOn.forEach(visit)
    open.delete(address)
    ordered.set(address, { ...resource, dependsOn })
  }
  for (const address of [...resources.keys()].sort().reverse()) visit(address)
  return ordered
}
