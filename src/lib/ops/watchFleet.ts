import ms from 'ms'
import type { Fleet } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { isSettled } from '../domain/fleet.js'
import type { Plane } from './plane.js'
import type { Clock } from './ports.js'

const FIRST_POLL_MS = 500
const LONGEST_POLL_MS = 5_000

/** Shows the fleet whenever it changed, until nothing in it is about to change. @throws ClawctlError TIMED_OUT */
export async function watchFleet(
  ports: { plane: Pick<Plane, 'fleet'>; clock: Clock; show(fleet: Fleet): void },
  timeoutMs: number,
): Promise<Fleet> {
  const deadline = ports.clock.now().getTime() + timeoutMs
  let poll = FIRST_POLL_MS
  let shown = ''
  for (;;) {
    const fleet = await ports.plane.fleet()
    const text = JSON.stringify(fleet)
    if (text !== shown) ports.show(fleet)
    shown = text
    if (isSettled(fleet, ports.clock.now())) return fleet
    const left = deadline - ports.clock.now().getTime()
    if (left <= 0) {
      throw new ClawctlError('TIMED_OUT', `The fleet had not settled after ${ms(timeoutMs, { long: true })}.`, {
        hint: 'Look at the instances that are pending or of unknown health.',
        partial: { fleet },
      })
    }
    await ports.clock.sleep(Math.min(poll, left))
    poll = Math.min(poll * 1.5, LONGEST_POLL_MS)
  }
}
