import type { Heartbeat } from '../../domain/contract/index.js'
import type { Host } from '../../domain/deploy/host.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { readHeartbeat } from './machineGate.js'
import { type Role, stateOf, writeRole } from './picture.js'
import type { HostDeployPorts } from './ports.js'

/** A machine looks each minute who may act, and its gateway takes some seconds to stop. */
const YIELD_MS = 90_000
/** Stopping takes EC2 a minute, at times some more. */
const STOP_MS = 5 * 60_000
/** While nobody serves, every look counts. */
const YIELD_POLL_MS = 250
const EC2_POLL_MS = 3_000

type Ports = Pick<HostDeployPorts, 'compute' | 'machines' | 'store' | 'clock'>

/**
 * Gives the role from one machine to another, never to both: first nobody may act, then the one that served says that it
 * has stopped, or EC2 stops it, and only then the next one is named. Where that fails, the one that served is named again.
 * @param home the machine that gets the role back should a deploy be lost on the way: the one that served before it
 * @throws ClawctlError what the services answered, FENCE_FAILED where EC2 could not stop the machine
 */
export async function transferRole(
  role: Role,
  { id, from, to, home, deploy }: { id: string; from: Host; to: Host; home: Host; deploy: string },
  say: (clause: string) => void,
  ports: Ports,
): Promise<Role> {
  say(`${from.instanceId} is asked to stop acting`)
  const fallback = (holder: Host) => (holder === home ? null : home.instanceId)
  const before = await readHeartbeat(ports.store, id, from.instanceId)
  const nobody = await writeRole(ports, role, { id, instanceId: null, from: home.instanceId, deploy })
  try {
    await yielded({ id, from, before }, say, ports)
  } catch (error) {
    // Also where we are being stopped: who served goes on.
    await writeRole(ports, nobody, { id, instanceId: from.instanceId, from: fallback(from), deploy })
    throw error
  }
  say(`${to.instanceId} may act`)
  return writeRole(ports, nobody, { id, instanceId: to.instanceId, from: fallback(to), deploy })
}

/**
 * Resolves when the machine acts no more: it says so, or EC2 has stopped or lost it.
 * @param target.before its last heartbeat before it was asked
 */
export async function yielded(
  { id, from, before }: { id: string; from: Host; before: Heartbeat | null },
  say: (clause: string) => void,
  ports: Ports,
): Promise<void> {
  const { clock, compute, machines, store } = ports
  const ec2 = await stateOf(compute, from.instanceId)
  if (isDown(ec2)) return
  const limits = { clock, timeoutMs: YIELD_MS, firstMs: YIELD_POLL_MS, longestMs: YIELD_POLL_MS }
  const answer = await poll<true>(limits, async () => {
    const heartbeat = await readHeartbeat(store, id, from.instanceId)
    // What it said before it was asked is no answer.
    const isAnswer = heartbeat?.stage === 'yielded' && heartbeat.at !== before?.at
    return isAnswer ? { done: true } : { wait: `${from.instanceId} has not stopped acting` }
  })
  if ('done' in answer) return
  if (isDown(await stateOf(compute, from.instanceId))) return
  say(`${from.instanceId} has not stopped acting: EC2 stops it`)
  await machines.stop(from.instanceId)
  const stopped = await poll<true>({ clock, timeoutMs: STOP_MS, longestMs: EC2_POLL_MS }, async () => {
    const state = await stateOf(compute, from.instanceId)
    return isDown(state) ? { done: true } : { wait: `EC2 says ${state}` }
  })
  if ('done' in stopped) return
  throw new ClawctlError('FENCE_FAILED', `${from.instanceId} goes on acting for ${id}, and EC2 has not stopped it.`, {
    hint: `Look at ${from.instanceId} in EC2, then deploy again.`,
  })
}

/** A machine that shuts down may still act. */
const isDown = (state: string) => state === 'stopped' || state === 'terminated'

/** Brings up a machine that was stopped, for it to serve again. */
export async function wake(instanceId: string, say: (clause: string) => void, ports: Ports): Promise<void> {
  const { clock, compute, machines } = ports
  const limits = { clock, timeoutMs: STOP_MS, longestMs: EC2_POLL_MS, onWait: say }
  let asked = false
  const result = await poll<true>(limits, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'running') return { done: true }
    if (state === 'stopped' && !asked) {
      await machines.start(instanceId)
      asked = true
    }
    return { wait: `${instanceId} is ${state}` }
  })
  if ('done' in result) return
  throw new ClawctlError('FENCE_FAILED', `${instanceId} could not be started again: ${result.timedOut}.`, {
    hint: `Start ${instanceId} in EC2, then look at \`clawctl fleet status\`.`,
  })
}
