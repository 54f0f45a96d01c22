import { inspectAge } from '../../domain/bundles/age.js'
import { type Assembly, assembleBundles, sharedTokens } from '../../domain/bundles/assemble.js'
import { identityObjectOf, parseManifest } from '../../domain/bundles/manifest.js'
import type { StoredBundle, WantedObject } from '../../domain/bundles/plan.js'
import { IDENTITIES_FOLDER, IDENTITY } from '../../domain/bundles/secrets.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Registry, RegistryEntry } from '../../domain/registry/registry.js'
import { storedIdentity } from './look.js'
import type { BundleReader, Identities, Identity, Opened, SecretFile, SecretsFolder, SecretsListing } from './ports.js'
import type { ReadySeed } from './seeds.js'

export interface Gathered {
  folder: SecretsListing
  assemblies: Assembly[]
  files: ReadonlyMap<string, SecretFile>
  /** Identities that were given, to be uploaded. */
  given: ReadonlyMap<string, Identity>
}

/**
 * Reads everything that the bundles of `ids` need from the secrets directory, and checks it as far as possible without S3.
 * @throws ClawctlError INVALID_SECRETS with every problem in `details` and `partial.problems`
 */
export async function gatherSecrets(
  input: { registry: Registry; ids: readonly string[]; extra: readonly string[] },
  ports: { secrets: SecretsFolder; identities: Identities },
): Promise<Gathered> {
  const folder = await ports.secrets.read()
  const files = new Map(folder.files.map((file) => [file.name, file]))
  const { assemblies, problems: assembling } = assembleBundles({ ...input, available: new Set(files.keys()) })
  const digests = new Map(folder.files.map(({ name, sha256 }) => [name, sha256]))
  const { identities: given, problems: unreadable } = await givenIdentities(input.ids, folder, ports.identities)
  const tested = await testDecryption(assemblies, files, input.registry, given)
  refuse([
    ...namedProblems(folder),
    ...formProblems(folder.files),
    ...assembling,
    ...sharedTokens(input.registry, digests, 'content'),
    ...unreadable,
    ...tested.problems,
  ])
  return { folder, assemblies, files, given }
}

/** Files that must not be there or can't be read, as sentences. */
export function namedProblems({ problems }: SecretsListing): string[] {
  return problems.map(({ file, problem }) => `${file} ${problem}`)
}

/** Checks every file, needed or not: no plaintext may be in the directory. */
export function formProblems(files: readonly SecretFile[]): string[] {
  return files.flatMap(({ name, bytes }) => {
    const form = inspectAge(bytes)
    return form.ok ? [] : [`${name}.age ${form.problem}`]
  })
}

/**
 * The identities that are available here: `<id>.key` of --identities-dir, else `identities/<id>.age` of
 * the secrets directory if --identity decrypts it.
 */
export async function givenIdentities(
  ids: readonly string[],
  folder: SecretsListing,
  source: Identities,
): Promise<{ identities: Map<string, Identity>; problems: string[] }> {
  const identities = new Map<string, Identity>()
  const problems: string[] = []
  for (const id of ids) {
    try {
      const identity = (await source.of(id)) ?? (await sealedIdentity(id, folder, source))
      if (identity) identities.set(id, identity)
    } catch (error) {
      const { code, message } = asClawctlError(error)
      if (code !== 'INVALID_SECRETS') throw error
      problems.push(message.replace(/\.$/, ''))
    }
  }
  return { identities, problems: [...new Set(problems)] }
}

async function sealedIdentity(id: string, folder: SecretsListing, source: Identities): Promise<Identity | null> {
  const sealed = folder.identities.get(id)
  const maintainer = sealed ? await source.shared() : null
  if (!sealed || !maintainer) return null
  const origin = `${IDENTITIES_FOLDER}/${id}.age`
  const plaintext = await maintainer.decrypt(sealed.bytes)
  if (plaintext) return source.parse(plaintext, origin)
  throw new ClawctlError('INVALID_SECRETS', `${origin} can't be decrypted with --identity.`, {
    hint: 'Pass the identity of a maintainer that recipients/maintainers.txt names.',
  })
}

/** Why `<name>.age` of a secrets directory can't be uploaded, as the end of a sentence; null if it can. */
export function secretProblem({ files, problems }: SecretsListing, name: string): string | null {
  const file = files.find((one) => one.name === name)
  if (!file) return problems.find((one) => one.file === `${name}.age`)?.problem ?? 'is missing'
  const form = inspectAge(file.bytes)
  return form.ok ? null : form.problem
}

export interface Tested {
  problems: string[]
  /** By instance id and name of the secret; empty if no identity of the instance is known. */
  outcomes: Map<string, Map<string, Opened>>
}

/** Test-decrypts every secret of every bundle whose instance's identity is known. */
export async function testDecryption(
  assemblies: readonly Assembly[],
  files: ReadonlyMap<string, SecretFile>,
  registry: Registry,
  identities: ReadonlyMap<string, Identity>,
): Promise<Tested> {
  const problems: string[] = []
  const outcomes: Tested['outcomes'] = new Map()
  const plain = new Map<string, string>()
  for (const { entry, secrets } of assemblies) {
    const identity = identities.get(entry.id)
    if (!identity) continue
    const cells = new Map<string, Opened>()
    outcomes.set(entry.id, cells)
    for (const { name } of secrets) {
      const file = files.get(name)
      if (!file || !inspectAge(file.bytes).ok) continue
      const opened = await identity.open(file.bytes)
      cells.set(name, opened)
      if (opened.outcome === 'opened') plain.set(name, opened.digest)
      else problems.push(`${name}.age ${opened.why}: the identity of ${entry.id} does not open it`)
    }
  }
  problems.push(...sharedTokens(registry, plain, 'plaintext'))
  return { problems: [...new Set(problems)], outcomes }
}

/** The most problems that are printed; --json has all. */
const MAX_DETAILS = 30

/** @throws ClawctlError INVALID_SECRETS if there is a problem */
export function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw invalidSecrets([...new Set(problems)])
}

export function invalidSecrets(problems: readonly string[], more: Record<string, unknown> = {}): ClawctlError {
  const one = problems.length === 1
  return new ClawctlError(
    'INVALID_SECRETS',
    one ? `${problems[0]}.` : `The secrets can't be uploaded: ${problems.length} problems.`,
    {
      hint: more.secrets
        ? 'Fix each, then upload.'
        : 'Nothing was uploaded. `clawctl secrets check` shows what each instance needs.',
      details: one ? [] : problems.slice(0, MAX_DETAILS),
      partial: { problems, ...more },
    },
  )
}

/**
 * The identity with which each host will decrypt: the given one, else the one in its bundle. If that
 * can't be read, it becomes a note, and the secrets stay untested. A bundle without any identity is a problem.
 */
export async function knownIdentities(
  gathered: Gathered,
  looked: readonly { entry: RegistryEntry; stored: StoredBundle }[],
  { store, identities: source }: { store: BundleReader; identities: Identities },
): Promise<{ identities: Map<string, Identity>; problems: string[]; notes: string[] }> {
  const identities = new Map(gathered.given)
  const problems: string[] = []
  const notes: string[] = []
  for (const { entry, stored } of looked) {
    if (identities.has(entry.id)) continue
    const manifest = parseManifest(stored.manifest)
    if (manifest?.instance.id !== entry.id || !identityObjectOf(manifest)) {
      problems.push(
        `${entry.id} has no age identity, neither given nor in its bundle: create one with clawctl secrets identity new ${entry.id}, and pass it with --identities-dir or --identity`,
      )
      continue
    }
    const { identity, why } = await storedIdentity(store, entry, manifest, source.parse)
    if (identity) identities.set(entry.id, identity)
    else notes.push(`The identity in the bundle of ${entry.id} could not be read, so its secrets are untested: ${why}.`)
  }
  return { identities, problems, notes }
}

/** The objects of an instance's bundle. */
export function wantedObjects(
  entry: RegistryEntry,
  gathered: Gathered,
  identities: ReadonlyMap<string, Identity>,
  tested: Tested,
  seeds: readonly ReadySeed[],
): WantedObject[] {
  const secrets = gathered.assemblies.find((one) => one.entry.id === entry.id)?.secrets ?? []
  const identity = identities.get(entry.id)
  return [
    ...secrets.flatMap(({ name, file }): WantedObject[] => {
      const found = gathered.files.get(name)
      if (!found) return []
      const opened = tested.outcomes.get(entry.id)?.get(name)
      const openedBy = opened?.outcome === 'opened' ? { openedBy: opened.fingerprint } : {}
      return [{ kind: 'secret', name, file, size: found.bytes.length, sha256: found.sha256, ...openedBy }]
    }),
    ...(identity
      ? [
          {
            kind: 'identity' as const,
            name: IDENTITY.name,
            size: identity.bytes.length,
            sha256: identity.sha256,
            fingerprints: [...identity.fingerprints],
          },
        ]
      : []),
    ...seeds.map(({ name, url, branch, commit, size, sha256 }): WantedObject => {
      return { kind: 'repo', name, size, sha256, url, branch, commit }
    }),
  ]
}
