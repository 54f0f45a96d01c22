import { CONTROL_TOKEN } from '../../domain/bundles/secrets.js'
import type { Fleet } from '../../domain/contract/index.js'
import { asClawctlError } from '../../domain/errors.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import { type Known, type Step, type StepFacts, stepsToAdd } from '../../domain/registry/steps.js'
import { secretProblem } from '../bundles/gather.js'
import type { SecretsFolder } from '../bundles/ports.js'

export interface StepPorts {
  /** Null if no secrets directory is given. */
  secrets: SecretsFolder | null
  /** The fleet, with the registry of the deployed branch (`ofBranch`) or of this checkout; null without a Control API. */
  fleet: { ask(): Promise<Fleet>; ofBranch: boolean } | null
  /** Whether a bundle's manifest exists; null without access to the bucket. */
  hasBundle: ((entry: RegistryEntry) => Promise<boolean>) | null
}

/** What remains to be done for an instance, each step looked up where that is possible from here. */
export async function remainingSteps(
  entry: RegistryEntry,
  edit: Pick<StepFacts, 'written' | 'pullRequestUrl'>,
  ports: StepPorts,
): Promise<Step[]> {
  const { secrets, fleet, hasBundle } = ports
  const [token, identity, controlToken, bundle, instance] = await Promise.all([
    known(secrets && (() => tokenIn(secrets, entry.discordTokenSecret)), 'pass --secrets-dir'),
    known(secrets && (() => identityIn(secrets, entry.id)), 'pass --secrets-dir'),
    known(secrets && (() => tokenIn(secrets, CONTROL_TOKEN.ownNameFor?.(entry) ?? '')), 'pass --secrets-dir'),
    known(hasBundle && (async () => ({ done: await hasBundle(entry) })), 'only CI can read the bucket'),
    fleet
      ? fleet.ask().then(
          ({ instances, sources }) =>
            sources?.registry === 'unavailable'
              ? { unknown: 'GitHub did not answer' }
              : { known: instances.find(({ id }) => id === entry.id) ?? null, ofBranch: fleet.ofBranch },
          (error: unknown) => ({ unknown: reason(error) }),
        )
      : { unknown: 'no Control API is configured' },
  ])
  return stepsToAdd({ entry, ...edit, token, identity, controlToken, bundle, instance })
}

async function tokenIn(secrets: SecretsFolder, name: string): Promise<Known> {
  const problem = secretProblem(await secrets.read(), name)
  return { done: problem === null, note: problem && `${name}.age ${problem}` }
}

async function identityIn(secrets: SecretsFolder, id: string): Promise<Known> {
  const { identities, recipients } = await secrets.read()
  if (!identities.has(id)) return { done: false, note: `identities/${id}.age is missing` }
  return recipients.has(id) ? { done: true } : { done: false, note: `recipients/${id}.txt is missing` }
}

/** A step that can't be checked is not a failure: the edit itself is done. */
async function known(look: (() => Promise<Known>) | null, why: string): Promise<Known> {
  if (!look) return { unknown: why }
  try {
    return await look()
  } catch (error) {
    return { unknown: reason(error) }
  }
}

function reason(error: unknown): string {
  const { code, message } = asClawctlError(error)
  return `${message.replace(/\.$/, '')} (${code})`
}
