import { instanceAddress, type Slot } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { launchOf } from './applyChange.js'
import type { HostContext } from './hostContext.js'

/**
 * Checks by a dry run, before anything is applied, whether EC2 would launch the machine of the plan.
 * @throws ClawctlError AMI_REFUSED, LAUNCH_REFUSED, DENIED
 */
export async function checkLaunch(context: HostContext, json: unknown, slot: Slot): Promise<void> {
  const { id, image } = context.turn
  const launch = launchOf(json, instanceAddress(id, slot), image)
  if (!launch) return
  if (launch.rootGib !== null && image.rootGib !== null && launch.rootGib < image.rootGib) {
    throw new ClawctlError(
      'AMI_REFUSED',
      `The AMI ${image.id} needs a root volume of ${image.rootGib} GiB; hosts get ${launch.rootGib} GiB.`,
      { hint: `Set the repository variable ROOT_VOLUME_GIB to ${image.rootGib} or more, or name another AMI.` },
    )
  }
  const refusal = await context.ports.machines.dryRun(launch)
  if (!refusal) return
  if (refusal.denied) {
    throw new ClawctlError('DENIED', `The deploy role may not launch ${id}: ${refusal.reason}`, {
      hint: 'Check the deploy role in the platform stack. Nothing was changed.',
    })
  }
  throw new ClawctlError('LAUNCH_REFUSED', `EC2 would not launch ${id} as planned: ${refusal.reason}`, {
    hint: 'Correct what EC2 names, in the registry, the stack or the variables. Nothing was changed.',
  })
}
