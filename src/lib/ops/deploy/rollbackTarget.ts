import { rollbackAmis } from '../../domain/deploy/rollback.js'
import { HISTORY_LOOKBACK } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Plane } from './plane.js'

/**
 * The AMI to which one instance, or all, can be rolled back.
 * @throws ClawctlError UNKNOWN_TARGET, NO_ROLLBACK_TARGET if no record has one, or the instances need different ones
 */
export async function rollbackTarget(target: string, plane: Pick<Plane, 'fleet' | 'deploys'>): Promise<string> {
  const [fleet, deploys] = await Promise.all([plane.fleet(), plane.deploys(HISTORY_LOOKBACK)])
  const amis = rollbackAmis(fleet, deploys, target)
  if (amis.size === 0) {
    throw new ClawctlError(
      'UNKNOWN_TARGET',
      `There is no instance ${JSON.stringify(target.slice(0, 63))} in the registry.`,
      {
        hint: 'See `clawctl fleet status` for the ids.',
      },
    )
  }
  const known = [...amis].flatMap(([id, ami]) => (ami === null ? [] : [{ id, ami }]))
  const [first, ...rest] = [...new Set(known.map(({ ami }) => ami))]
  if (first === undefined) {
    throw new ClawctlError('NO_ROLLBACK_TARGET', `No record names an AMI that ${target} was healthy with before.`, {
      hint: `Name one: clawctl fleet deploy ${target} --ami ami-…; \`clawctl image list\` shows the AMIs.`,
    })
  }
  if (rest.length > 0) {
    throw new ClawctlError('NO_ROLLBACK_TARGET', 'The instances were healthy with different AMIs before.', {
      details: known.map(({ id, ami }) => `${id} was healthy with ${ami}.`),
      hint: 'Roll them back one by one, or name one AMI for all: clawctl fleet deploy all --ami ami-…',
    })
  }
  return first
}
