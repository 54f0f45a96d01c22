import type { Registry, RegistryEntry } from '../registry/registry.js'
import { objectFile } from './layout.js'
import { isOwnForm, ownersOf, SECRETS, type SecretSpec, SHARED_SECRET_NAMES } from './secrets.js'

/** One secret of an instance's bundle. */
export interface BundleSecret {
  /** File name in the secrets directory. */
  name: string
  /** Path on the host, relative to the bundle. */
  file: string
}

/** One cell of the matrix: a secret that an instance needs, and its state. */
export interface SecretNeed {
  spec: SecretSpec
  /** Name in the secrets directory: the instance's own if it exists, else the shared one. */
  name: string
  present: boolean
}

/** The secrets that an instance needs, in the order of the list, with those that a secrets directory has. */
export function needsOf(entry: RegistryEntry, available: ReadonlySet<string>): SecretNeed[] {
  return SECRETS.map((spec) => {
    const own = spec.ownNameFor?.(entry)
    const name = own !== undefined && available.has(own) ? own : spec.nameFor(entry)
    return { spec, name, present: available.has(name) }
  })
}

export interface Assembly {
  entry: RegistryEntry
  secrets: BundleSecret[]
}

/**
 * The secrets of each bundle: the shared ones, `extra` shared ones, and exactly the instance's own. Never another
 * instance's, for any registry and directory.
 * @param available names that the secrets directory has
 * @returns the bundles of `ids`, and everything that keeps them from being made, as sentences
 */
export function assembleBundles(input: {
  registry: Registry
  ids: readonly string[]
  available: ReadonlySet<string>
  extra?: readonly string[]
}): { assemblies: Assembly[]; problems: string[] } {
  const { registry, available, extra = [] } = input
  const owners = ownersOf(registry)
  const problems = [...ambiguousNames(registry), ...unfitExtras(extra, owners, available)]
  const assemblies = registry
    .filter((entry) => input.ids.includes(entry.id))
    .map((entry): Assembly => {
      const needs = needsOf(entry, available)
      for (const { spec, name, present } of needs) {
        if (!present && spec.required) {
          problems.push(`${entry.id} needs ${name}.age (${spec.title}: ${spec.purpose}), which does not exist`)
        }
      }
      const wanted = [
        ...needs.map(({ spec, name, present }) => ({ name, present, file: objectFile('secret', spec.nameFor(entry)) })),
        ...extra
          .filter((name) => !isOwnForm(name))
          .map((name) => ({ name, present: available.has(name), file: objectFile('secret', name) })),
      ]
      const secrets = wanted.filter(
        ({ name, present, file }, index) =>
          present &&
          (owners.get(name) ?? entry.id) === entry.id &&
          wanted.findIndex((other) => other.file === file) === index,
      )
      return { entry, secrets: secrets.map(({ name, file }) => ({ name, file })) }
    })
  return { assemblies, problems: [...new Set(problems)] }
}

/** Name conflicts: an own secret with the name of a shared one, or of another instance's. */
function ambiguousNames(registry: Registry): string[] {
  return registry.flatMap((entry) => {
    const name = entry.discordTokenSecret
    const problem = (what: string) => [`${entry.id}: its discordTokenSecret ${name} is also the name of ${what}`]
    if (SHARED_SECRET_NAMES.includes(name)) return problem('a secret that every instance gets')
    const other = registry.find((one) => SECRETS.some((spec) => spec.ownNameFor?.(one) === name))
    return other ? problem(`the own control token of ${other.id}`) : []
  })
}

function unfitExtras(
  extra: readonly string[],
  owners: ReadonlyMap<string, string>,
  available: ReadonlySet<string>,
): string[] {
  return extra.flatMap((name) => {
    const owner = owners.get(name)
    if (owner !== undefined) return [`${name} belongs to ${owner} only and can't be shared`]
    if (isOwnForm(name)) return [`${name} belongs to one instance only and can't be shared`]
    return available.has(name) ? [] : [`${name}.age was requested but does not exist`]
  })
}

/**
 * Secrets that must differ but are equal: an instance's own one with the same content as any other secret.
 * @param digests name → digest of the ciphertext (or, with a key, of the plaintext); equal means equal content
 */
export function sharedTokens(registry: Registry, digests: ReadonlyMap<string, string>, what: string): string[] {
  const owners = ownersOf(registry)
  const names = [...digests.keys()].sort()
  const groups = new Map<string, string[]>()
  for (const name of names) {
    const digest = digests.get(name) ?? ''
    groups.set(digest, [...(groups.get(digest) ?? []), name])
  }
  return [...groups.values()]
    .filter((group) => group.length > 1 && group.some((name) => owners.has(name)))
    .map((group) => `${group.map((name) => `${name}.age`).join(' and ')} have the same ${what}`)
}
