import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from '@cdktf/hcl2json'
import { ROOT } from './plane.js'

/** A stack's files as hcl2json gives them: every block a list, every expression a string with `${…}`. */
export interface Stack {
  /** By `type.name`. */
  resources: Map<string, Body>
  /** By `type.name`. */
  data: Map<string, Body>
  variables: Map<string, Body>
  outputs: Map<string, Body>
  locals: Map<string, unknown>
  /** The text of all files, by name. */
  files: Map<string, string>
}

// biome-ignore lint/suspicious/noExplicitAny: a test asserts on what it reads
export type Body = Record<string, any>

/** One statement of an IAM policy, as the stack writes it. */
export interface Statement {
  sid: string
  effect: 'Allow' | 'Deny'
  actions: string[]
  resources: string[]
  principals: { type: string; identifiers: unknown }[]
  conditions: { test: string; variable: string; values: unknown }[]
}

const known = new Map<string, Promise<Stack>>()

/** Read once for all tests. */
export function readStack(name: 'platform' | 'fleet'): Promise<Stack> {
  const stack = known.get(name) ?? parseStack(name)
  known.set(name, stack)
  return stack
}

async function parseStack(name: string): Promise<Stack> {
  const dir = join(ROOT, 'infra/opentofu/aws', name)
  const stack: Stack = {
    resources: new Map(),
    data: new Map(),
    variables: new Map(),
    outputs: new Map(),
    locals: new Map(),
    files: new Map(),
  }
  for (const file of readdirSync(dir).filter((entry) => entry.endsWith('.tf'))) {
    const text = readFileSync(join(dir, file), 'utf8')
    stack.files.set(file, text)
    const parsed = await parse(file, text)
    for (const [kind, blocks] of [
      ['resources', parsed.resource],
      ['data', parsed.data],
    ] as const) {
      for (const [type, named] of Object.entries<Body>(blocks ?? {})) {
        for (const [label, [body]] of Object.entries(named)) stack[kind].set(`${type}.${label}`, body)
      }
    }
    for (const [label, [body]] of Object.entries<Body[]>(parsed.variable ?? {})) stack.variables.set(label, body ?? {})
    for (const [label, [body]] of Object.entries<Body[]>(parsed.output ?? {})) stack.outputs.set(label, body ?? {})
    for (const locals of parsed.locals ?? []) {
      for (const [label, value] of Object.entries(locals)) stack.locals.set(label, value)
    }
  }
  return stack
}

/** The statements of `data.aws_iam_policy_document.NAME`, those of its sources and its dynamic ones with them. */
export function statementsOf(stack: Stack, name: string): Statement[] {
  const body = stack.data.get(`aws_iam_policy_document.${name}`)
  if (!body) throw new Error(`there is no policy document ${name}`)
  const sources: string[] = [body.source_policy_documents ?? []].flat().map(String)
  const inherited = sources.flatMap((text) => {
    const source = /data\.aws_iam_policy_document\.(\w+)\.json/.exec(text)?.[1]
    if (!source) throw new Error(`${name} has a source that is no document of the stack: ${text}`)
    return statementsOf(stack, source)
  })
  const dynamic: Body[] = (body.dynamic?.statement ?? []).flatMap((block: Body) => block.content)
  return [...inherited, ...[...(body.statement ?? []), ...dynamic].map(toStatement)]
}

function toStatement(block: Body): Statement {
  return {
    sid: block.sid,
    effect: block.effect ?? 'Allow',
    actions: block.actions ?? [],
    resources: block.resources ?? [],
    principals: block.principals ?? [],
    conditions: block.condition ?? [],
  }
}

/** Every `var.x`, `local.x`, `aws_type.name` and `data.aws_type.name` that the stack mentions. */
export function referencesIn(stack: Stack): string[] {
  const text = [...stack.files.values()].join('\n').replace(/#.*$/gm, '')
  return [...new Set(text.match(/\b(?:var|local)\.\w+|\b(?:data\.)?aws_\w+\.\w+/g) ?? [])]
}
