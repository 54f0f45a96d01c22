import ms from 'ms'
import type { Fleet } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { isSettled } from '../domain/fleet.js'
import type { Plane } from './plane.js'
import { poll } from './poll.js'
import type { Clock } from './ports.js'

const LONGEST_POLL_MS = 5_000

/** Shows the fleet whenever it changed, until nothing in it is about to change. @throws ClawctlError TIMED_OUT */
export async function watchFleet(
  ports: { plane: Pick<Plane, 'fleet'>; clock: Clock; show(fleet: Fleet): void },
  timeoutMs: number,
): Promise<Fleet> {
  let last: Fleet | undefined
  const result = await poll<Fleet>({ clock: ports.clock, timeoutMs, longestMs: LONGEST_POLL_MS }, async () => {
    const fleet = await ports.plane.fleet()
    if (JSON.stringify(fleet) !== JSON.stringify(last)) ports.show(fleet)
    last = fleet
    return isSettled(fleet, ports.clock.now()) ? { done: fleet } : { wait: 'instances are about to change.' }
  })
  if ('done' in result) return result.done
  throw new ClawctlError(
    'TIMED_OUT',
    `The fleet had not settled after ${ms(timeoutMs, { long: true })}: ${result.timedOut}`,
    {
      hint: 'Look at the instances that are pending or of unknown health.',
      ...(last ? { partial: { fleet: last } } : {}),
    },
  )
}
