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

type Ports = Pick<HostDeployPorts, 'compute' | 'machines' | 'store' | 'clock' | 'tidyClock'>

/**
 * Gives the role from one machine to another, never to both: first nobody may act, then the one that served says that it
 * has stopped, or EC2 stops it, and only then the next one is named. Where that fails, the one that served is named again;
 * after EC2 was asked to stop a machine, it is `home` that serves, and is started for it. Until then the role is with
 * nobody, so that the next deploy does it where this process ends.
 * @param home the machine that gets the role back should a deploy be lost on the way: the one that served before it
 * @param onStop called when EC2 was asked to stop the one that served
 * @throws ClawctlError what the services answered, FENCE_FAILED where EC2 could not stop the machine
 */
export async function transferRole(
  role: Role,
  { id, from, to, home, deploy }: { id: string; from: Host; to: Host; home: Host; deploy: string },
  say: (clause: string) => void,
  ports: Ports,
  onStop: () => void = () => {},
): Promise<Role> {
  say(`${from.instanceId} is asked to stop acting`)
  const before = await readHeartbeat(ports.store, id, from.instanceId)
  const nobody = await writeRole(ports, role, { id, instanceId: null, from: home.instanceId, deploy })
  const name = ({ instanceId }: Host) =>
    writeRole(ports, nobody, { id, instanceId, from: instanceId === home.instanceId ? null : home.instanceId, deploy })
  let isStopping = false
  try {
    await yielded({ id, from, before }, say, ports, () => {
      isStopping = true
      onStop()
    })
  } catch (error) {
    // Also where we are being stopped: who served goes on.
    if (isStopping) await startHome({ id, from, home }, say, ports)
    await name(isStopping ? home : from)
    throw error
  }
  say(`${to.instanceId} may act`)
  return name(to)
}

/** Once EC2 has been asked to stop a machine, it stops, whatever becomes of this process. */
async function startHome(
  { id, from, home }: { id: string; from: Host; home: Host },
  say: (clause: string) => void,
  ports: Ports,
): Promise<void> {
  const unhurried = { ...ports, clock: ports.tidyClock }
  say(`EC2 is stopping ${from.instanceId}: when it has stopped, ${home.instanceId} serves again`)
  await untilDown({ id, from }, unhurried)
  if (home.instanceId === from.instanceId) await wake(home.instanceId, say, unhurried)
}

/**
 * Resolves when the machine acts no more: it says so, or EC2 has stopped or lost it.
 * @param target.before its last heartbeat before it was asked
 * @param onStop called when EC2 was asked to stop it
 */
export async function yielded(
  { id, from, before }: { id: string; from: Host; before: Heartbeat | null },
  say: (clause: string) => void,
  ports: Ports,
  onStop: () => void = () => {},
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
  await machines.stop(from.instanceId).catch(async (error: unknown) => {
    // The request may have arrived and its answer not.
    if ((await stateOf(compute, from.instanceId)) === 'running') throw error
  })
  onStop()
  await untilDown({ id, from }, ports)
}

/** @throws ClawctlError FENCE_FAILED where EC2 has not stopped it in its time */
async function untilDown(
  { id, from }: { id: string; from: Host },
  { clock, compute }: Pick<Ports, 'clock' | 'compute'>,
): Promise<void> {
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
  const result = await poll<string | null>(limits, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'running') return { done: null }
    if (state === 'terminated' || state === 'shutting-down') return { done: `it is ${state}` }
    if (state === 'stopped' && !asked) {
      await machines.start(instanceId)
      asked = true
    }
    return { wait: `${instanceId} is ${state}` }
  })
  const why = 'done' in result ? result.done : result.timedOut
  if (why === null) return
  throw new ClawctlError('FENCE_FAILED', `${instanceId} could not be started again: ${why}.`, {
    hint: `Start ${instanceId} in EC2, then look at \`clawctl fleet status\`.`,
  })
}
