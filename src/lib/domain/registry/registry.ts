import { getNodeValue, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import * as z from 'zod/mini'
import { isOwnForm, SHARED_SECRET_NAMES } from '../bundles/secrets.js'
import { ID_PATTERN } from '../contract/patterns.js'
import { ClawctlError } from '../errors.js'
import { endOf, type Property, properties } from './tree.js'

/** One entry of nix/instances.json, the fleet's desired state. */
export interface RegistryEntry {
  id: string
  host: string
  instanceType: string
  bootstrapPrefix: string
  discordTokenSecret: string
}

/** Entries in the file's order, which is the order of a rollout. */
export type Registry = readonly RegistryEntry[]

/** The kind of a problem, stable for scripts. */
export type RegistryRule = 'syntax' | 'id' | 'key' | 'value' | 'repeated' | 'shared-value' | 'nested-prefix'

export interface RegistryProblem {
  /** The id of the entry, or null if the problem concerns the whole file. */
  id: string | null
  line: number
  column: number
  rule: RegistryRule
  message: string
}

export interface CheckedRegistry {
  /** Empty if there is any problem. */
  entries: Registry
  /** Every id in the file, valid or not, at its first place. */
  ids: { id: string; line: number; column: number }[]
  problems: RegistryProblem[]
}

/** `all` is a target, so it can't be an id. */
const RESERVED_IDS = new Set(['all'])

const ENTRY_FIELDS = {
  host: z.string().check(z.regex(ID_PATTERN, 'must be a host name: a-z, 0-9 and -, at most 63 characters')),
  instanceType: z
    .string()
    .check(z.regex(/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/, 'must be an EC2 instance type such as t3.large')),
  bootstrapPrefix: z
    .string()
    .check(
      z.regex(
        /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/,
        'must be a relative S3 prefix such as bootstrap/clawdinator-1, without "..", "//" or a slash at either end',
      ),
    ),
  discordTokenSecret: z
    .string()
    .check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be the name of a secret such as clawdinator-discord-token-1')),
} as const
export type EntryField = keyof typeof ENTRY_FIELDS
export const FIELD_NAMES = Object.keys(ENTRY_FIELDS) as EntryField[]
/** Folders of the bucket with other contents. An instance may read everything below its prefix. */
export const RESERVED_FOLDERS: readonly string[] = ['control-api', 'deploys', 'heartbeats', 'images', 'state']
/** The most problems that are printed; --json has all. */
const MAX_DETAILS = 20
/** No two instances may share these: a Discord token allows one connection, a prefix holds one instance's secrets. */
const UNIQUE_FIELDS = ['host', 'bootstrapPrefix', 'discordTokenSecret'] as const

/**
 * Reads a registry and finds every problem. Works on the syntax tree, because JSON.parse would silently keep
 * the last of two entries with the same id.
 */
export function checkRegistry(text: string): CheckedRegistry {
  const problems: RegistryProblem[] = []
  const ids: CheckedRegistry['ids'] = []
  const positionOf = positionsIn(text)
  const report = (id: string | null, offset: number, rule: RegistryRule, message: string) => {
    problems.push({ id, ...positionOf(offset), rule, message })
  }

  if (text.startsWith('\uFEFF')) {
    report(
      null,
      0,
      'syntax',
      'begins with a byte order mark (BOM), which JSON does not allow: save it as UTF-8 without BOM',
    )
    return { entries: [], ids, problems }
  }
  const errors: ParseError[] = []
  let root: Node | undefined
  try {
    root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false })
  } catch {
    // The parser recurses into every bracket, and there are thousands.
    report(null, 0, 'syntax', 'broken JSON: nested too deeply')
    return { entries: [], ids, problems }
  }
  for (const error of errors) {
    const inside = root && properties(root).find((p) => offsetWithin(error.offset, p))
    report(inside?.name ?? null, error.offset, 'syntax', `broken JSON: ${describeParseError(error)}`)
  }
  if (errors.length > 0) return { entries: [], ids, problems }
  if (root?.type !== 'object') {
    report(null, 0, 'syntax', 'must be one JSON object that maps instance ids to their settings')
    return { entries: [], ids, problems }
  }

  const entries: RegistryEntry[] = []
  const seenIds = new Set<string>()
  const owners = new Map<string, string>()
  const offsets = new Map<string, number>()
  for (const { name: id, key, value } of properties(root)) {
    if (!ID_PATTERN.test(id)) {
      report(id, key.offset, 'id', 'the id must begin with a-z and hold only a-z, 0-9 and -, at most 63 characters')
    } else if (RESERVED_IDS.has(id)) {
      report(id, key.offset, 'id', `"${id}" is the target for the whole fleet and can't be an id`)
    }
    if (!seenIds.has(id)) ids.push({ id, ...positionOf(key.offset) })
    else report(id, key.offset, 'repeated', 'the id occurs twice')
    seenIds.add(id)
    const entry = readEntry(id, value, (offset, rule, message) => report(id, offset, rule, message))
    if (!entry) continue
    entries.push(entry)
    offsets.set(id, key.offset)
    for (const field of UNIQUE_FIELDS) {
      const owned = `${field} ${entry[field]}`
      const owner = owners.get(owned)
      if (owner === undefined) owners.set(owned, id)
      else if (owner !== id) {
        const at = properties(value).find((property) => property.name === field)?.value ?? value
        report(id, at.offset, 'shared-value', `${field} "${entry[field]}" is already used by ${owner}`)
      }
    }
  }
  const byPrefix = new Map(entries.map((entry) => [entry.bootstrapPrefix, entry]))
  for (const inner of entries) {
    const outer = foldersAbove(inner.bootstrapPrefix).find((folder) => byPrefix.has(folder))
    if (outer !== undefined) {
      report(
        inner.id,
        offsets.get(inner.id) ?? 0,
        'nested-prefix',
        `bootstrapPrefix "${inner.bootstrapPrefix}" is inside the prefix of ${byPrefix.get(outer)?.id}, which could read this bundle`,
      )
    }
  }
  return { entries: problems.length > 0 ? [] : entries, ids, problems }
}

/** Lines and columns from 1; the text is read only once. */
function positionsIn(text: string): (offset: number) => { line: number; column: number } {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return (offset) => {
    let [low, high] = [0, starts.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}

/** `a/b/c` → `a`, `a/b`. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

function offsetWithin(offset: number, property: Property): boolean {
  return offset >= property.key.offset && offset <= endOf(property.value)
}

/** `PropertyNameExpected` → `property name expected`. */
function describeParseError(error: ParseError): string {
  return printParseErrorCode(error.error)
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toLowerCase()
}

type Report = (offset: number, rule: RegistryRule, message: string) => void

function readEntry(id: string, node: Node, report: Report): RegistryEntry | null {
  if (node.type !== 'object') {
    report(node.offset, 'value', `must be an object with ${FIELD_NAMES.join(', ')}`)
    return null
  }
  let good = true
  const fail: Report = (...problem) => {
    good = false
    report(...problem)
  }
  const values = new Map<string, string>()
  const present = new Set<string>()
  for (const { name, key, value } of properties(node)) {
    if (!FIELD_NAMES.includes(name as EntryField)) {
      fail(key.offset, 'key', `unknown key "${name}"; the keys are ${FIELD_NAMES.join(', ')}`)
      continue
    }
    if (present.has(name)) fail(key.offset, 'repeated', `the key "${name}" occurs twice`)
    present.add(name)
    const parsed = ENTRY_FIELDS[name as EntryField].safeParse(getNodeValue(value))
    if (parsed.success) {
      values.set(name, parsed.data)
      const meant = otherMeaning(name as EntryField, parsed.data)
      if (meant !== null) fail(value.offset, 'value', `${name} "${parsed.data}" ${meant}`)
    } else {
      const what = value.type === 'string' ? parsed.error.issues[0]?.message : 'must be a string'
      fail(value.offset, 'value', `${name} ${what}`)
    }
  }
  for (const name of FIELD_NAMES) {
    if (!present.has(name)) fail(node.offset, 'key', `${name} is missing`)
  }
  const field = (name: EntryField) => values.get(name) ?? ''
  return good
    ? {
        id,
        host: field('host'),
        instanceType: field('instanceType'),
        bootstrapPrefix: field('bootstrapPrefix'),
        discordTokenSecret: field('discordTokenSecret'),
      }
    : null
}

/** Why a well-formed value is reserved in the fleet, as the end of a sentence; null if it is free. */
function otherMeaning(field: EntryField, value: string): string | null {
  if (field === 'bootstrapPrefix') {
    const [folder = ''] = value.split('/')
    return RESERVED_FOLDERS.includes(folder) ? `is in ${folder}/, which is not for bundles` : null
  }
  if (field !== 'discordTokenSecret') return null
  if (SHARED_SECRET_NAMES.includes(value)) return 'is the name of a secret that every instance gets'
  return isOwnForm(value) ? "is the name of an instance's control token" : null
}

/**
 * @param origin source of the text, for the message
 * @throws ClawctlError INVALID_REGISTRY naming the first bad entry and how many more problems there are
 */
export function parseRegistry(text: string, origin: string): Registry {
  const { entries, problems } = checkRegistry(text)
  const [first, ...others] = problems
  if (!first) return entries
  const more = others.length > 0 ? ` (and ${others.length} more)` : ''
  const where = ({ id, message }: RegistryProblem) => `${id === null ? '' : `${id}: `}${message}`
  throw new ClawctlError('INVALID_REGISTRY', `${origin}:${first.line}:${first.column}: ${where(first)}${more}.`, {
    hint: problems.length === 1 ? `Fix it in ${origin}.` : `Fix each of the above in ${origin}.`,
    details: others.slice(0, MAX_DETAILS).map((problem) => `${problem.line}:${problem.column}: ${where(problem)}`),
    partial: { problems },
  })
}

export function findEntry(registry: Registry, id: string): RegistryEntry | undefined {
  return registry.find((entry) => entry.id === id)
}
