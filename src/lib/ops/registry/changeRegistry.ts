import { REQUESTED_BY_PATTERN } from '../../domain/contract/patterns.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Proposer } from '../../domain/registry/pullRequest.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import { type RemainingObject, remainingObjects, type Step } from '../../domain/registry/steps.js'
import { type AskedEdit, type EditResult, editRegistry } from './editRegistry.js'
import type { Checkout, Repository } from './ports.js'
import { type ProposedPull, proposeEdit } from './proposeEdit.js'
import { remainingSteps, type StepPorts } from './stepFacts.js'

export interface ChangePorts {
  checkout: Checkout
  /** @throws ClawctlError NOT_CONFIGURED */
  repository(): Promise<{ repository: Repository; base: string | null }>
  steps: StepPorts
}

export interface ChangeOptions {
  dryRun: boolean
  /** Open a pull request instead of editing the checkout. */
  pr: boolean
  asker: Proposer
}

export interface ChangeResult extends EditResult {
  pullRequest: ProposedPull | null
  /** The remaining steps after an addition, and what a removal leaves. */
  steps: readonly Step[]
  stays: readonly RemainingObject[]
}

/**
 * Adds an entry to the registry or removes one: in the checkout, or as a pull request.
 * @throws ClawctlError as editRegistry and proposeEdit do
 */
export async function changeRegistry(
  asked: AskedEdit,
  options: ChangeOptions,
  ports: ChangePorts,
): Promise<ChangeResult> {
  const asker = checkedAsker(options.asker)
  const stepsOf = async (entry: RegistryEntry, pull: ProposedPull | null, status: EditResult['status']) => {
    if (asked.kind === 'remove') return []
    const written = status === 'planned' ? 'planned' : options.pr && status !== 'unchanged' ? 'pull-request' : 'here'
    return remainingSteps(entry, { written, pullRequestUrl: pull?.url ?? null }, ports.steps)
  }
  const stays = (entry: RegistryEntry) => (asked.kind === 'remove' ? remainingObjects(entry) : [])

  if (!options.pr) {
    const result = await editRegistry(asked, options.dryRun, ports.checkout)
    const { instance, status } = result
    return { ...result, pullRequest: null, steps: await stepsOf(instance, null, status), stays: stays(instance) }
  }
  const { repository, base } = await ports.repository()
  const steps = (entry: RegistryEntry) => stepsOf(entry, null, 'proposed')
  const result = await proposeEdit(asked, { base, dryRun: options.dryRun, asker, steps }, repository)
  const { instance, status, pullRequest } = result
  return { ...result, steps: await stepsOf(instance, pullRequest, status), stays: stays(instance) }
}

function checkedAsker(asker: Proposer): Proposer {
  const requestedBy = asker.requestedBy?.trim() || null
  if (requestedBy === null || REQUESTED_BY_PATTERN.test(requestedBy)) return { ...asker, requestedBy }
  throw new ClawctlError('INVALID_REQUEST', 'The name of the requester must be one line of at most 64 characters.', {
    hint: 'Shorten the value of --requested-by.',
  })
}
