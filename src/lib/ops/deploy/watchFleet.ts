import ms from 'ms'
import type { Fleet } from '../../domain/contract/index.js'
import { isSettled } from '../../domain/deploy/fleet.js'
import { isOver } from '../../domain/deploy/run.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import type { Clock } from '../ports.js'
import type { Plane } from './plane.js'

const MAX_POLL_MS = 5_000
/** More than are ever queued. */
const RECENT = 10

/**
 * Shows the fleet at every change, until no instance is in transition and no deploy is queued or running.
 * @throws ClawctlError TIMED_OUT
 */
export async function watchFleet(
  ports: { plane: Pick<Plane, 'fleet' | 'deploys'>; clock: Clock; show(fleet: Fleet): void },
  timeoutMs: number,
): Promise<Fleet> {
  let last: Fleet | undefined
  const result = await poll<Fleet>({ clock: ports.clock, timeoutMs, longestMs: MAX_POLL_MS }, async () => {
    const fleet = await ports.plane.fleet()
    if (JSON.stringify(fleet) !== JSON.stringify(last)) ports.show(fleet)
    last = fleet
    if (!isSettled(fleet, ports.clock.now())) return { wait: 'instances are in transition.' }
    return (await isDeploying(ports.plane)) ? { wait: 'a deploy is queued or running.' } : { done: fleet }
  })
  if ('done' in result) return result.done
  throw new ClawctlError(
    'TIMED_OUT',
    `The fleet had not settled after ${ms(timeoutMs, { long: true })}: ${result.timedOut}`,
    {
      hint: 'Check the instances that are pending or of unknown health.',
      ...(last ? { partial: { fleet: last } } : {}),
    },
  )
}

/** Without a GitHub token in CI the deploys can't be read; then only the instances count. */
async function isDeploying(plane: Pick<Plane, 'deploys'>): Promise<boolean> {
  try {
    return (await plane.deploys(RECENT)).some((deploy) => !isOver(deploy))
  } catch (error) {
    if (asClawctlError(error).code === 'NOT_CONFIGURED') return false
    throw error
  }
}
