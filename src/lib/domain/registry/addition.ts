import { REGISTRY_PATH } from '../paths.js'
import { insertEntry } from './edit.js'
import { hostFilePath, hostFileText, SHARED_HOST_FILES } from './hostFile.js'
import type { FleetFiles, RegistryPlan } from './plan.js'
import {
  checkRegistry,
  type EntryField,
  FIELD_NAMES,
  findEntry,
  parseRegistry,
  type Registry,
  type RegistryEntry,
  type RegistryProblem,
} from './registry.js'

/** Default instance type; the fleet stack uses the same for an id that left the registry. */
export const DEFAULT_INSTANCE_TYPE = 't3.large'
/** Default S3 prefix of an instance's bundle. */
export const defaultPrefix = (id: string) => `bootstrap/${id}`

/** The requested entry: fields that are left out follow the convention. */
export type EntryRequest = Pick<RegistryEntry, 'id'> & { [field in EntryField]?: string | undefined }

const FLAG_OF: Record<EntryField, string> = {
  host: '--host',
  instanceType: '--instance-type',
  bootstrapPrefix: '--bootstrap-prefix',
  discordTokenSecret: '--discord-token-secret',
}

/** clawdinator-3 has clawdinator-discord-token-3; an id of another form is appended as a whole: `…-token-arnie`. */
export function conventionalEntry(asked: EntryRequest): RegistryEntry {
  const { id } = asked
  return {
    id,
    host: asked.host ?? id,
    instanceType: asked.instanceType ?? DEFAULT_INSTANCE_TYPE,
    bootstrapPrefix: asked.bootstrapPrefix ?? defaultPrefix(id),
    discordTokenSecret: asked.discordTokenSecret ?? `clawdinator-discord-token-${id.replace(/^clawdinator-(?=.)/, '')}`,
  }
}

/**
 * The entry as the last one of the registry, and its host file if there is none. The host file comes first: an entry
 * is in the registry only when its files exist. Repeating the request completes an interrupted one.
 * @throws ClawctlError INVALID_REGISTRY if the registry was invalid before
 */
export function planAddition(files: FleetFiles, asked: EntryRequest): RegistryPlan {
  const registry = parseRegistry(files.registry.text, files.registry.origin)
  const entry = conventionalEntry(asked)
  const existing = findEntry(registry, entry.id)
  if (existing) {
    const different = FIELD_NAMES.filter((field) => existing[field] !== entry[field])
    if (different.length > 0) return refuseExisting(existing, entry, different, registry)
    if (files.hostFile !== null) return { kind: 'nothing', entry }
  }
  const text = existing ? files.registry.text : insertEntry(files.registry.text, entry)
  const { problems } = checkRegistry(text)
  if (problems.length > 0) return refuseBad(entry, problems)
  if (SHARED_HOST_FILES.includes(entry.id)) return refuseShared(entry.id)
  const path = hostFilePath(entry.id)
  return {
    kind: 'change',
    entry,
    changes: [
      ...(files.hostFile === null ? [{ path, before: null, after: hostFileText(entry.id) }] : []),
      ...(existing ? [] : [{ path: REGISTRY_PATH, before: files.registry.text, after: text }]),
    ],
    notes: files.hostFile === null ? [] : [`${path} exists already and was not changed.`],
  }
}

function refuseExisting(
  existing: RegistryEntry,
  wanted: RegistryEntry,
  different: readonly EntryField[],
  registry: Registry,
): RegistryPlan {
  const differences = different.map((field) => `${field} ${existing[field]} instead of ${wanted[field]}`)
  const free = nextFreeId(existing.id, registry)
  return {
    kind: 'refused',
    code: 'REGISTRY_CONFLICT',
    message: `${existing.id} is in the registry already, with other values: ${differences.join(', ')}.`,
    hint: `${free ? `Did you mean ${free}? ` : ''}To change ${existing.id}, edit ${REGISTRY_PATH}.`,
  }
}

/** The first free id with the same stem; null if the id does not end with a number. */
function nextFreeId(id: string, registry: Registry): string | null {
  const stem = /^(.*-)\d+$/.exec(id)?.[1]
  if (stem === undefined) return null
  for (let number = 1; ; number++) {
    if (!findEntry(registry, `${stem}${number}`)) return `${stem}${number}`
  }
}

function refuseBad(entry: RegistryEntry, problems: readonly RegistryProblem[]): RegistryPlan {
  const taken = problems.every(({ rule }) => rule === 'shared-value' || rule === 'nested-prefix')
  // Values that follow from a bad id are bad too; only the id is reported.
  const badId = problems.filter(({ rule }) => rule === 'id')
  const messages = (badId.length > 0 ? badId : problems).map(({ id, message }) =>
    id === entry.id ? message : `${id}: ${message}`,
  )
  const fields = FIELD_NAMES.filter((field) => messages.some((message) => message.includes(field)))
  const flags = fields.map((field) => FLAG_OF[field])
  return {
    kind: 'refused',
    code: taken ? 'REGISTRY_CONFLICT' : 'INVALID_REQUEST',
    message: `${JSON.stringify(entry.id)} can't be added: ${messages.join('; ')}.`,
    hint: badId.length > 0 ? 'Use an id such as clawdinator-3.' : hintFor(fields, flags),
  }
}

function refuseShared(id: string): RegistryPlan {
  return {
    kind: 'refused',
    code: 'INVALID_REQUEST',
    message: `"${id}" can't be added: ${hostFilePath(id)} is the file that all hosts share.`,
    hint: 'Use an id such as clawdinator-3.',
  }
}

function hintFor(fields: readonly EntryField[], flags: readonly string[]): string {
  const token = fields.includes('discordTokenSecret')
    ? ' Each instance needs its own Discord token: one token allows one connection.'
    : ''
  return `Pass another value with ${flags.join(' and ')}.${token}`
}
