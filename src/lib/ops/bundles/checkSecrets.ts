import { assembleBundles, needsOf, sharedTokens } from '../../domain/bundles/assemble.js'
import { IDENTITIES_FOLDER, IDENTITY, ownersOf, SHARED_SECRET_NAMES } from '../../domain/bundles/secrets.js'
import type { ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import {
  formProblems,
  givenIdentities,
  invalidSecrets,
  namedProblems,
  secretProblem,
  testDecryption,
} from './gather.js'
import type { Identities, SecretsFolder } from './ports.js'

/** `ok`: decrypted with the instance's identity. `untested`: it has the form of an age file but was not decrypted. */
export type CellState = 'ok' | 'missing' | 'bad' | 'untested'

export interface SecretsReport {
  /** The secrets and the identity, in the order of the list. */
  columns: string[]
  instances: { id: string; cells: { title: string; name: string; required: boolean; state: CellState }[] }[]
  /** Secrets that no instance needs. */
  orphans: string[]
  /** Files whose names are not names of secrets. */
  strays: string[]
  /** Secrets that must differ but are equal, as sentences. */
  shared: string[]
  /** How many cells are untested. */
  untested: number
  /** Everything that would stop an upload, as sentences; empty if there is no problem. */
  problems: string[]
}

/**
 * Checks the secrets directory against what each instance needs. Works offline.
 * @returns the report, and INVALID_SECRETS where an upload would be refused
 */
export async function checkSecrets(
  extra: readonly string[],
  ports: { registry: RegistrySource; secrets: SecretsFolder; identities: Identities },
): Promise<{ report: SecretsReport; failure: ClawctlError | null }> {
  const report = await secretsReport(extra, ports)
  const failure = report.problems.length > 0 ? invalidSecrets(report.problems, { secrets: report }) : null
  return { report, failure }
}

async function secretsReport(
  extra: readonly string[],
  ports: Parameters<typeof checkSecrets>[1],
): Promise<SecretsReport> {
  const registry = await readRegistry(ports.registry)
  const folder = await ports.secrets.read()
  const files = new Map(folder.files.map((file) => [file.name, file]))
  const available = new Set(files.keys())
  const ids = registry.map(({ id }) => id)
  const { assemblies, problems: assembling } = assembleBundles({ registry, ids, available, extra })
  const { identities, problems: unreadable } = await givenIdentities(ids, folder, ports.identities)
  const tested = await testDecryption(assemblies, files, registry, identities)
  const alike = sharedTokens(registry, new Map(folder.files.map(({ name, sha256 }) => [name, sha256])), 'content')
  const missing: string[] = []
  const instances = registry.map((entry) => {
    const cells = needsOf(entry, available).map(({ spec, name, present }) => {
      const opened = tested.outcomes.get(entry.id)?.get(name)?.outcome
      const state: CellState = !present
        ? 'missing'
        : secretProblem(folder, name) !== null || opened === 'failed'
          ? 'bad'
          : opened === 'opened'
            ? 'ok'
            : 'untested'
      return { title: spec.title, name, required: spec.required, state }
    })
    return { id: entry.id, cells: [...cells, identityCell(entry.id)] }
  })
  return {
    columns: instances[0]?.cells.map(({ title }) => title) ?? [],
    instances,
    orphans: orphansOf(registry, available, extra),
    strays: folder.strays,
    shared: [...alike, ...tested.problems.filter((problem) => problem.endsWith('the same plaintext'))],
    untested: instances.flatMap(({ cells }) => cells).filter(({ state }) => state === 'untested').length,
    problems: [
      ...new Set([
        ...namedProblems(folder),
        ...formProblems(folder.files),
        ...assembling,
        ...alike,
        ...unreadable,
        ...tested.problems,
        ...missing,
      ]),
    ],
  }

  /** An identity that was decrypted here is `ok`; one that exists only encrypted is `untested`. */
  function identityCell(id: string) {
    const sealed = folder.identities.get(id)
    const unreadableHere = unreadable.some((problem) => problem.includes(`${IDENTITIES_FOLDER}/${id}.age`))
    const state: CellState = identities.has(id) ? 'ok' : unreadableHere ? 'bad' : sealed ? 'untested' : 'missing'
    if (state === 'missing') {
      missing.push(
        `${id} has no age identity, neither ${IDENTITIES_FOLDER}/${id}.age nor one in --identities-dir, so its host could not decrypt any secret. Create one with clawctl secrets identity new ${id}`,
      )
    }
    return { title: IDENTITY.title, name: `${IDENTITIES_FOLDER}/${id}`, required: true, state }
  }
}

function orphansOf(registry: Registry, available: ReadonlySet<string>, extra: readonly string[]): string[] {
  const known = new Set([...SHARED_SECRET_NAMES, ...extra, ...ownersOf(registry).keys()])
  return [...available].filter((name) => !known.has(name)).sort()
}
