import type { Check, Fleet } from '../contract/index.js'
import { checkFleetFiles, type FileProblem, formatProblem } from '../registry/files.js'
import type { Registry } from '../registry/registry.js'

/** Evidence names at most this many instances. */
export const MAX_NAMED = 5

export const pass = (id: string, title: string, evidence: string, fix: string | null = null): Check => ({
  id,
  title,
  status: 'pass',
  evidence,
  fix,
})
export const fail = (id: string, title: string, evidence: string, fix: string): Check => ({
  id,
  title,
  status: 'fail',
  evidence,
  fix,
})
export const skip = (id: string, title: string, evidence: string): Check => ({
  id,
  title,
  status: 'skip',
  evidence,
  fix: null,
})

/** The checkout's registry and host files. */
export function judgeLocalRegistry(text: string, hostFiles: readonly string[], instances: number): Check {
  const title = "The checkout's registry is valid"
  const errors = checkFleetFiles(text, hostFiles).filter(({ severity }: FileProblem) => severity === 'error')
  const [first, ...more] = errors
  if (!first) return pass('local-registry', title, `${count(instances, 'instance')} in the checkout.`)
  const rest = more.length > 0 ? ` And ${more.length} more.` : ''
  return fail('local-registry', title, `${formatProblem(first)}.${rest}`, 'Fix what it lists.')
}

/**
 * Compares the checkout with the deployed branch. Either may be ahead, so a difference is reported but is not a failure.
 */
export function compareRegistries(local: Registry, fleet: Fleet): Check {
  const title = 'The checkout and the deployed branch have the same instances'
  if (fleet.sources?.registry === 'unavailable') {
    return skip(
      'registry-deployed',
      title,
      'The Control API could not read the deployed registry: GitHub is unavailable.',
    )
  }
  const deployed = fleet.instances.filter(({ state }) => state !== 'orphan').map(({ id }) => id)
  const here = local.map(({ id }) => id)
  const onlyHere = here.filter((id) => !deployed.includes(id))
  const onlyThere = deployed.filter((id) => !here.includes(id))
  if (onlyHere.length + onlyThere.length === 0) {
    return pass('registry-deployed', title, 'The deployed branch has the same instances.')
  }
  const differences = [
    ...(onlyHere.length > 0 ? [`only in the checkout: ${named(onlyHere)}`] : []),
    ...(onlyThere.length > 0 ? [`only on the deployed branch: ${named(onlyThere)}`] : []),
  ]
  const fix =
    onlyHere.length > 0
      ? 'Push or merge the changes to deploy (`clawctl registry add ID --pr`), or run `git pull`.'
      : 'git pull'
  return pass('registry-deployed', title, `The deployed branch differs: ${differences.join('; ')}.`, fix)
}

/**
 * Checks secrets in nix-secrets that every deploy needs.
 * @param problems name → the problem, as the end of a sentence; null if it is age ciphertext
 */
export function judgeSecretsFolder(
  id: 'discord-secrets' | 'token-secret',
  title: string,
  folder: string,
  problems: ReadonlyMap<string, string | null>,
): Check {
  const bad = [...problems].filter(([, problem]) => problem !== null)
  if (bad.length === 0) return pass(id, title, `${count(problems.size, 'secret')} encrypted in ${folder}.`)
  const words = bad.slice(0, MAX_NAMED).map(([name, problem]) => `${name}.age ${problem}`)
  const more = bad.length > MAX_NAMED ? ` and ${bad.length - MAX_NAMED} more` : ''
  const [name = ''] = bad[0] ?? []
  return fail(id, title, `${words.join(', ')}${more}.`, `agenix -e ${name}.age`)
}

export const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`

/** The first ids, and how many more there are. */
export function named(ids: readonly string[]): string {
  const more = ids.length > MAX_NAMED ? ` and ${ids.length - MAX_NAMED} more` : ''
  return `${ids.slice(0, MAX_NAMED).join(', ')}${more}`
}
