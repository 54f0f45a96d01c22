import { type BundleManifest, type BundleObject, bundleManifestSchema } from '../contract/index.js'
import { parseAs, parseJson } from '../json.js'
import type { Registry, RegistryEntry } from '../registry/registry.js'
import { REQUIRED_REPOS, secretNameOf } from './layout.js'
import { IDENTITY, ownersOf, SECRETS, type SecretSpec } from './secrets.js'

export const MANIFEST_NAME = 'config.json'
export const manifestKey = (entry: Pick<RegistryEntry, 'bootstrapPrefix'>) =>
  `${entry.bootstrapPrefix}/${MANIFEST_NAME}`
export const HEARTBEAT_PREFIX = 'heartbeats/'
/** Key of one machine's heartbeat: active machine and candidate each have their own. */
export const heartbeatKey = (id: string, instanceId: string) => `${HEARTBEAT_PREFIX}${id}/${instanceId}.json`
/** Key of the object that names the active machine of an instance. */
export const activeKey = (id: string) => `active/${id}.json`

/** What is known of one object's content; unset if it was not checked. */
export interface ObjectEvidence {
  /** SHA-256 in hex, of the content or as stored by S3. */
  sha256?: string | null
  /** The problem of its age format, as the end of a sentence; null if there is none. */
  age?: string | null
  /** S3's server-side encryption. */
  encryption?: string | null
  /** Further problems, as ends of sentences. */
  problems?: readonly string[]
}

export interface BundleView {
  /** Text of config.json, or null if it does not exist. */
  manifest: string | null
  /** Every object below the prefix, with full keys. */
  objects: readonly { key: string; size: number }[]
  /** By key relative to the prefix; objects without an entry are not judged. */
  evidence?: ReadonlyMap<string, ObjectEvidence>
  /** Manifests of the other instances, to detect their tokens in this bundle. */
  others?: readonly BundleManifest[]
}

/** The manifest, or null if the text is not one. */
export function parseManifest(text: string | null): BundleManifest | null {
  return parseAs(bundleManifestSchema, text)
}

/**
 * The problems of a bundle, as clauses for people: what keeps the host from booting, or must not be in it. Empty if complete.
 * Used by the deploy gate, `bootstrap verify` and preflight; each passes what it has read.
 */
export function judgeBundle(entry: RegistryEntry, view: BundleView, registry: Registry = [entry]): string[] {
  const key = manifestKey(entry)
  if (view.manifest === null) return [`${key} does not exist`]
  const manifest = parseManifest(view.manifest)
  if (!manifest) {
    const { schema } = (parseJson(view.manifest) ?? {}) as { schema?: unknown }
    return typeof schema === 'number' && schema !== 2
      ? [`${key} has schema ${schema}, but this clawctl reads schema 2`]
      : [`${key} is not a bundle's manifest`]
  }
  if (manifest.instance.id !== entry.id) return [`${key} belongs to ${JSON.stringify(manifest.instance.id)}`]
  const { discordTokenSecret } = manifest.instance
  if (discordTokenSecret !== entry.discordTokenSecret) {
    return [`it was made with ${discordTokenSecret}, but the registry now names ${entry.discordTokenSecret}`]
  }
  return [
    ...staleFields(entry, manifest),
    ...missingParts(entry, manifest),
    ...unopenedSecrets(manifest),
    ...manifest.objects.flatMap((object) => objectProblems(entry, object, view)),
    ...foreignSecrets(entry, manifest, view, registry),
  ]
}

function staleFields(entry: RegistryEntry, { instance }: BundleManifest): string[] {
  return (['host', 'bootstrapPrefix'] as const).flatMap((field) =>
    instance[field] === entry[field] ? [] : [`it was made for the ${field} ${JSON.stringify(instance[field])}`],
  )
}

/** Whether the bundle has the secret, shared or the instance's own. */
export function namesSecret({ objects }: BundleManifest, entry: RegistryEntry, spec: SecretSpec): boolean {
  const names: readonly (string | undefined)[] = [spec.nameFor(entry), spec.ownNameFor?.(entry)]
  return objects.some(({ kind, name }) => kind === 'secret' && names.includes(name))
}

/** Required parts that the manifest lacks, and files and keys that it names twice. */
function missingParts(entry: RegistryEntry, manifest: BundleManifest): string[] {
  const { objects } = manifest
  const secrets = SECRETS.filter((spec) => spec.required && !namesSecret(manifest, entry, spec))
  const repos = REQUIRED_REPOS.filter((name) => !objects.some((one) => one.kind === 'repo' && one.name === name))
  const twice = (['file', 'key'] as const).flatMap((field) => {
    const values = objects.map((object) => object[field])
    return [...new Set(values.filter((value, index) => values.indexOf(value) !== index))]
  })
  return [
    ...secrets.map((spec) => `${spec.nameFor(entry)} (${spec.title}) is not in it`),
    ...(identityObjectOf(manifest)
      ? []
      : [`${IDENTITY.name} (${IDENTITY.title}) is not in it, so the host could not decrypt any secret`]),
    ...repos.map((name) => `the repository ${name} is not in it`),
    ...[...new Set(twice)].map((value) => `${value} is named twice`),
  ]
}

/** The bundle's own age identity, or null. */
export function identityObjectOf({ objects }: BundleManifest): Extract<BundleObject, { kind: 'identity' }> | null {
  return objects.find((object) => object.kind === 'identity') ?? null
}

/** Secrets that were tested with another identity than the bundle's: the host could not decrypt them. */
function unopenedSecrets(manifest: BundleManifest): string[] {
  const fingerprints = identityObjectOf(manifest)?.fingerprints
  if (!fingerprints) return []
  return manifest.objects.flatMap((object) =>
    object.kind === 'secret' && object.openedBy && !fingerprints.includes(object.openedBy)
      ? [`${object.key} is encrypted for another identity than the bundle's`]
      : [],
  )
}

/** Names of the secrets that were not test-decrypted before the upload. */
export function untestedSecrets({ objects }: BundleManifest): string[] {
  return objects.flatMap((object) => (object.kind === 'secret' && !object.openedBy ? [object.name] : []))
}

function objectProblems(entry: RegistryEntry, object: BundleObject, view: BundleView): string[] {
  const { key } = object
  const found = view.objects.find((one) => one.key === `${entry.bootstrapPrefix}/${key}`)
  if (!found) return [`${key} is missing`]
  if (found.size !== object.size) return [`${key} has ${found.size} bytes instead of ${object.size}`]
  const evidence = view.evidence?.get(key)
  if (!evidence) return []
  const { sha256, age, encryption, problems = [] } = evidence
  if (sha256 !== undefined && sha256 !== object.sha256) return [`${key} has another SHA-256`]
  return [
    ...(object.kind === 'secret' && age ? [`${key} ${age}`] : []),
    ...(object.kind === 'identity' && encryption !== undefined && !encryption?.startsWith('aws:kms')
      ? [`${key} is an identity that is not encrypted with KMS`]
      : []),
    ...problems.map((problem) => `${key} ${problem}`),
  ]
}

/** Objects that belong only to another instance, by the other manifests. */
export function secretsOfOthers(
  entry: RegistryEntry,
  others: readonly BundleManifest[],
  registry: Registry,
): { owner: string; object: BundleObject }[] {
  const owners = ownersOf(registry)
  return others.flatMap(({ instance: { id }, objects }) => {
    if (id === entry.id) return []
    const own = objects.filter(
      ({ kind, name }) => kind === 'identity' || (kind === 'secret' && owners.get(name) === id),
    )
    return own.map((object) => ({ owner: id, object }))
  })
}

/** Finds another instance's secrets: by name, in the manifest and below the prefix, and by content. */
function foreignSecrets(
  entry: RegistryEntry,
  manifest: BundleManifest,
  view: BundleView,
  registry: Registry,
): string[] {
  const owners = ownersOf(registry)
  const prefix = `${entry.bootstrapPrefix}/`
  const named = [
    ...manifest.objects.filter(({ kind }) => kind === 'secret').map(({ name, key }) => ({ name, key })),
    ...view.objects.flatMap(({ key }) => {
      const relative = key.startsWith(prefix) ? key.slice(prefix.length) : ''
      const name = secretNameOf(relative)
      return name === null ? [] : [{ name, key: relative }]
    }),
  ]
  const foreign = new Map(
    named.flatMap(({ name, key }) => {
      const owner = owners.get(name)
      return owner === undefined || owner === entry.id ? [] : [[key, owner] as const]
    }),
  )
  const looked = [...(view.evidence ?? [])].map(([key, { sha256 }]) => ({ key, sha256 }))
  const theirs = secretsOfOthers(entry, view.others ?? [], registry)
  for (const { key, sha256 } of [...manifest.objects, ...looked]) {
    const other = theirs.find(({ object }) => object.sha256 === sha256)
    if (other) foreign.set(key, other.owner)
  }
  return [...foreign].map(([key, owner]) => `${key} holds a secret of ${owner}`)
}
