import { heartbeatKey } from '../../domain/bundles/manifest.js'
import { NOBODY } from '../../domain/deploy/active.js'
import { consoleReason, evidenceOf } from '../../domain/deploy/console.js'
import type { Host } from '../../domain/deploy/host.js'
import type { Slot } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { planChange } from './applyChange.js'
import { type GateVerdict, machineGate, readHeartbeat } from './machineGate.js'
import { isGone, type Picture, type Role, stateOf, takePicture, writeRole } from './picture.js'
import type { DeployStep, HostDeployPorts, HostTurn, Rollout } from './ports.js'

/** One host's turn with everything that it needs. */
export interface Work {
  turn: HostTurn
  rollout: Rollout
  ports: HostDeployPorts
  /** Machines that EC2 was found to have no more. */
  gone: Set<string>
}

/** As much of it as destroying one machine takes. */
export interface Removal {
  turn: Pick<HostTurn, 'id'>
  rollout: Pick<Rollout, 'requestId' | 'registry' | 'scope' | 'onPlan'>
  ports: HostDeployPorts
  gone: Set<string>
}

const TERMINATED_WITHIN_MS = 5 * 60_000
const EC2_POLL_MS = 3_000

export const look = (work: Removal): Promise<Picture> => takePicture(work.ports, work.gone)

/** The slot that the state has a machine in, or null. */
export function slotOf(picture: Picture, id: string, instanceId: string): Slot | null {
  return picture.state.get(id)?.find((machine) => machine.instanceId === instanceId)?.slot ?? null
}

/** A clause of the host's present step, for record and progress. What can't be written is no reason to stop. */
export const clauses = (work: Work, step: DeployStep) => (clause: string) => void work.turn.at(step, clause)

/** Waits for a machine at its gate. One that never got as far as a heartbeat has only its console to say why. */
export async function gate(work: Work, instanceId: string, role: 'standby' | 'active', step: DeployStep = role) {
  const { turn, rollout, ports } = work
  await turn.at(step)
  const { healthTimeoutMs: timeoutMs } = rollout
  const verdict = await machineGate(ports, { id: turn.id, instanceId, role, timeoutMs }, clauses(work, step))
  if (verdict.passed) return verdict
  const heartbeat = await readHeartbeat(ports.store, turn.id, instanceId)
  const console = await ports.compute.console(instanceId).catch(() => '')
  await turn.witness(evidenceOf(instanceId, verdict.host?.ami ?? turn.image.id, heartbeat, console))
  const line = heartbeat === null ? consoleReason(console) : null
  return line === null ? verdict : { ...verdict, reason: `${verdict.reason}; its console says: ${line}` }
}

export function gateFailure(work: Work, verdict: Extract<GateVerdict, { passed: false }>, role: 'standby' | 'active') {
  const { id, image } = work.turn
  const what = role === 'active' ? 'is not healthy' : 'is not ready to take over'
  return new ClawctlError('HEALTH_FAILED', `${id} on ${image.id} ${what}: ${verdict.reason}.`, {
    hint: `Look at \`clawctl fleet show ${id}\`, or deploy it with --ami and an AMI that is known to work.`,
  })
}

/**
 * Destroys one machine of the id and nothing else: through a guarded plan, or by EC2 itself where the state does not
 * know it.
 */
export async function destroyMachine(work: Removal, machine: Pick<Host, 'instanceId' | 'ami'>): Promise<void> {
  const { turn, rollout, ports } = work
  const { id } = turn
  const { instanceId, ami } = machine
  const picture = await look(work)
  const slot = slotOf(picture, id, instanceId)
  if (slot !== null && !picture.gone.has(instanceId)) {
    const plan = await planChange({ kind: 'destroy', id, slot }, { ami, picture }, rollout, ports)
    await ports.tofu.apply(plan.file)
  } else if (slot === null) await terminate(work, instanceId)
  work.gone.add(instanceId)
  await ports.store.delete(heartbeatKey(id, instanceId)).catch(() => {})
}

/** Asked again until it is seen: an answer of EC2 is no proof. */
async function terminate(work: Removal, instanceId: string): Promise<void> {
  const { compute, machines, clock } = work.ports
  const limits = { clock, timeoutMs: TERMINATED_WITHIN_MS, longestMs: EC2_POLL_MS }
  const result = await poll<true>(limits, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'terminated' || state === 'shutting-down') return { done: true }
    if (state === 'unknown') return (await isGone(work.ports, instanceId)) ? { done: true } : { wait: 'EC2 is behind' }
    await machines.terminate(instanceId)
    return { wait: `EC2 says ${state}` }
  })
  if ('done' in result) return
  throw new ClawctlError('APPLY_FAILED', `EC2 does not terminate ${instanceId}: ${result.timedOut}.`, {
    hint: `Look at ${instanceId} in EC2 for what protects it, then deploy again.`,
  })
}

/** Before another machine exists, the role is with the one that serves; with nobody where none does. */
export async function nameHolder(work: Work, role: Role, holder: Host | null): Promise<Role> {
  const wanted = holder?.instanceId ?? NOBODY
  if (role.active?.instanceId === wanted) return role
  const next = { id: work.turn.id, instanceId: holder?.instanceId ?? null, from: null, deploy: work.rollout.requestId }
  return writeRole(work.ports, role, next)
}
