import type { Heartbeat } from '../../domain/contract/index.js'
import type { Host } from '../../domain/deploy/host.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { readHeartbeat } from './machineGate.js'
import { type Role, stateOf, writeRole } from './observation.js'
import type { HostDeployPorts } from './ports.js'

/** A machine reads active/<id>.json each minute, and its gateway takes some seconds to stop. */
const YIELD_MS = 90_000
/** EC2 usually needs a minute to stop a machine. */
const STOP_MS = 5 * 60_000
/** Short, because no machine serves meanwhile. */
const YIELD_POLL_MS = 250
const EC2_POLL_MS = 3_000

type Ports = Pick<HostDeployPorts, 'compute' | 'machines' | 'store' | 'clock' | 'tidyClock'>

/**
 * Moves the role from one machine to another, so that both never have it at the same time: no machine is named, then
 * the old one yields or is fenced, then the new one is named. If that fails, the old one is named again. If EC2 was
 * already asked to stop it, `home` is started and named instead; no machine is named until then, so that the next
 * deploy can do it if this process is killed.
 * @param home the machine that gets the role back if the deploy is interrupted
 * @param onStop called when EC2 was asked to stop the old machine
 * @throws ClawctlError the services' failures, FENCE_FAILED if EC2 could not stop the machine
 */
export async function transferRole(
  role: Role,
  { id, from, to, home, deploy }: { id: string; from: Host; to: Host; home: Host; deploy: string },
  say: (clause: string) => void,
  ports: Ports,
  onStop: () => void = () => {},
): Promise<Role> {
  say(`${from.instanceId} is asked to yield`)
  const before = await readHeartbeat(ports.store, id, from.instanceId)
  const nobody = await writeRole(ports, role, { id, instanceId: null, from: home.instanceId, deploy })
  const name = ({ instanceId }: Host) =>
    writeRole(ports, nobody, { id, instanceId, from: instanceId === home.instanceId ? null : home.instanceId, deploy })
  let isStopping = false
  try {
    await waitForYield({ id, from, before }, say, ports, () => {
      isStopping = true
      onStop()
    })
  } catch (error) {
    // Also if this process is being stopped: the old machine goes on serving.
    if (isStopping) await startHome({ id, from, home }, say, ports)
    await name(isStopping ? home : from)
    throw error
  }
  say(`${to.instanceId} is active`)
  return name(to)
}

/**
 * Waits until EC2 has stopped the old machine, even if this process is interrupted, and starts it again if it is
 * `home`.
 */
async function startHome(
  { id, from, home }: { id: string; from: Host; home: Host },
  say: (clause: string) => void,
  ports: Ports,
): Promise<void> {
  const tidy = { ...ports, clock: ports.tidyClock }
  say(`EC2 is stopping ${from.instanceId}; after that ${home.instanceId} serves again`)
  await waitForStop({ id, from }, tidy)
  if (home.instanceId === from.instanceId) await startMachine(home.instanceId, say, tidy)
}

/**
 * Resolves when the machine has yielded: its heartbeat reports it, or EC2 has stopped or terminated it.
 * @param target.before its last heartbeat before the request
 * @param onStop called when EC2 was asked to stop it
 */
export async function waitForYield(
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
    // A heartbeat from before the request is not an answer.
    const isAnswer = heartbeat?.stage === 'yielded' && heartbeat.at !== before?.at
    return isAnswer ? { done: true } : { wait: `${from.instanceId} has not yielded` }
  })
  if ('done' in answer) return
  if (isDown(await stateOf(compute, from.instanceId))) return
  say(`${from.instanceId} has not yielded: EC2 stops it`)
  await machines.stop(from.instanceId).catch(async (error: unknown) => {
    // EC2 may have got the request although its answer was lost.
    if ((await stateOf(compute, from.instanceId)) === 'running') throw error
  })
  onStop()
  await waitForStop({ id, from }, ports)
}

/** @throws ClawctlError FENCE_FAILED if EC2 has not stopped it after 5 minutes */
async function waitForStop(
  { id, from }: { id: string; from: Host },
  { clock, compute }: Pick<Ports, 'clock' | 'compute'>,
): Promise<void> {
  const stopped = await poll<true>({ clock, timeoutMs: STOP_MS, longestMs: EC2_POLL_MS }, async () => {
    const state = await stateOf(compute, from.instanceId)
    return isDown(state) ? { done: true } : { wait: `EC2 reports ${state}` }
  })
  if ('done' in stopped) return
  throw new ClawctlError(
    'FENCE_FAILED',
    `${from.instanceId} has not yielded the role of ${id}, and EC2 has not stopped it.`,
    {
      hint: `Check ${from.instanceId} in EC2, then deploy again.`,
    },
  )
}

/** A machine that is shutting down may still be active. */
const isDown = (state: string) => state === 'stopped' || state === 'terminated'

/** Starts a stopped machine, and waits until it runs. */
export async function startMachine(instanceId: string, say: (clause: string) => void, ports: Ports): Promise<void> {
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
    hint: `Start ${instanceId} in EC2, then check \`clawctl fleet status\`.`,
  })
}
