import { inspectAge } from '../../domain/bundles/age.js'
import { type Assembly, assembleBundles, sharedTokens } from '../../domain/bundles/assemble.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Identities, Identity, Opened, SecretFile, SecretsFolder, SecretsListing } from './ports.js'

export interface Gathered {
  assemblies: Assembly[]
  files: ReadonlyMap<string, SecretFile>
  /** Of the instances that have one to be uploaded. */
  identities: ReadonlyMap<string, Identity>
  /** Names in the directory that belong to nobody. */
  strays: string[]
  /** What could not be tested, and why. */
  notes: string[]
}

/**
 * Everything of the secrets directory that the bundles of `ids` need, tested as far as it can be before anything is sent.
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
  const problems = [
    ...namedProblems(folder),
    ...formProblems(folder.files),
    ...assembling,
    ...sharedTokens(input.registry, digests, 'content'),
  ]
  const tested = await testDecryption(assemblies, files, input.registry, ports.identities)
  const all = [...new Set([...problems, ...tested.problems])]
  if (all.length > 0) throw invalidSecrets(all)
  return {
    assemblies,
    files,
    identities: tested.identities,
    strays: folder.strays,
    notes: tested.notes,
  }
}

/** What must not be there or can't be read, as sentences. */
export function namedProblems({ problems }: SecretsListing): string[] {
  return problems.map(({ file, problem }) => `${file} ${problem}`)
}

/** Of every file, needed or not: a plaintext must not lie there at all. */
export function formProblems(files: readonly SecretFile[]): string[] {
  return files.flatMap(({ name, bytes }) => {
    const form = inspectAge(bytes)
    return form.ok ? [] : [`${name}.age ${form.problem}`]
  })
}

export interface Tested {
  identities: Map<string, Identity>
  problems: string[]
  notes: string[]
  /** What was seen of each secret of each instance: `opened`, `failed`, `skipped`, or nothing without an identity. */
  cells: Map<string, Map<string, 'opened' | 'failed' | 'skipped'>>
}

/** Opens every secret of every bundle with the identity of its instance, where there is one. */
export async function testDecryption(
  assemblies: readonly Assembly[],
  files: ReadonlyMap<string, SecretFile>,
  registry: Registry,
  source: Identities,
): Promise<Tested> {
  const tested: Tested = { identities: new Map(), problems: [], notes: [], cells: new Map() }
  const shared = await caught(source.shared(), tested.problems)
  const plain = new Map<string, string>()
  const known = new Map<string, Opened>()
  for (const { entry, secrets } of assemblies) {
    const own = await caught(source.of(entry.id), tested.problems)
    if (own) tested.identities.set(entry.id, own)
    const identity = own ?? shared
    if (!identity) continue
    const cells = new Map<string, 'opened' | 'failed' | 'skipped'>()
    tested.cells.set(entry.id, cells)
    for (const { name } of secrets) {
      const file = files.get(name)
      if (!file || !inspectAge(file.bytes).ok) continue
      const once = `${identity.sha256} ${name}`
      const opened = known.get(once) ?? (await identity.open(file.bytes))
      known.set(once, opened)
      cells.set(name, opened.outcome)
      if (opened.outcome === 'opened') plain.set(name, opened.digest)
      else if (opened.outcome === 'skipped') tested.notes.push(`${name}.age was not test-decrypted: ${opened.why}`)
      else {
        const whose = own ? `the identity of ${entry.id}` : `--identity, and ${entry.id} needs it`
        tested.problems.push(`${name}.age can't be decrypted with ${whose}`)
      }
    }
  }
  tested.problems.push(...sharedTokens(registry, plain, 'plaintext'))
  for (const list of [tested.problems, tested.notes]) list.splice(0, list.length, ...new Set(list))
  return tested
}

/** One unreadable identity is one problem among others. */
async function caught<T>(work: Promise<T>, problems: string[]): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    const { code, message } = asClawctlError(error)
    if (code !== 'INVALID_SECRETS') throw error
    problems.push(message.replace(/\.$/, ''))
    return null
  }
}

/** More lines than this help nobody at once; --json has them all. */
const MOST_DETAILS = 30

export function invalidSecrets(problems: readonly string[], more: Record<string, unknown> = {}): ClawctlError {
  const one = problems.length === 1
  return new ClawctlError(
    'INVALID_SECRETS',
    one ? `${problems[0]}.` : `The secrets are not fit to be uploaded: ${problems.length} problems.`,
    {
      hint: more.secrets
        ? 'Mend each, then upload.'
        : 'Nothing was uploaded. `clawctl secrets check` shows who needs what.',
      details: one ? [] : problems.slice(0, MOST_DETAILS),
      partial: { problems, ...more },
    },
  )
}
