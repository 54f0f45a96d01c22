import { heartbeatKey } from '../../domain/bundles/manifest.js'
import { NO_MACHINE } from '../../domain/deploy/active.js'
import { consoleReason, evidenceOf } from '../../domain/deploy/console.js'
import type { Host } from '../../domain/deploy/host.js'
import type { Slot } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { planChange } from './applyChange.js'
import { type GateVerdict, machineGate, readHeartbeat } from './machineGate.js'
import {
  isGone,
  type Observation,
  observe,
  type Role,
  readRole,
  standingOfId,
  stateOf,
  writeRole,
} from './observation.js'
import type { DeployStep, HostDeployPorts, HostTurn, Rollout } from './ports.js'

export interface HostContext {
  turn: HostTurn
  rollout: Rollout
  ports: HostDeployPorts
  /** Machines that are known to be gone from EC2. */
  gone: Set<string>
}

/** The part that destroying one machine needs. */
export interface RemovalContext {
  turn: Pick<HostTurn, 'id'>
  rollout: Pick<Rollout, 'requestId' | 'registry' | 'scope' | 'onPlan'>
  ports: HostDeployPorts
  gone: Set<string>
}

const TERMINATED_WITHIN_MS = 5 * 60_000
const EC2_POLL_MS = 3_000

/** What exists: EC2 and the state, the id's role, and its machines by both. @throws ClawctlError ROLE_UNREADABLE */
export async function observeId({ turn, ports, gone }: HostContext) {
  const observed = await observe(ports, gone)
  const role = await readRole(ports.store, turn.id)
  return { observed, role, standing: await standingOfId(ports, { hosts: observed.hosts, gone }, role, turn.id) }
}

/** The machine's slot in the state, or null. */
export function slotOf(observed: Observation, id: string, instanceId: string): Slot | null {
  return observed.state.get(id)?.find((machine) => machine.instanceId === instanceId)?.slot ?? null
}

/** Reports clauses of one step, without waiting for the write. */
export const clauseReporter = (context: HostContext, step: DeployStep) => (clause: string) =>
  void context.turn.at(step, clause)

/** Waits for a machine at its gate. If it never sent a heartbeat, the reason comes from its console. */
export async function gate(
  context: HostContext,
  instanceId: string,
  role: 'standby' | 'active',
  step: DeployStep = role,
) {
  const { turn, rollout, ports } = context
  await turn.at(step)
  const { healthTimeoutMs: timeoutMs } = rollout
  const verdict = await machineGate(ports, { id: turn.id, instanceId, role, timeoutMs }, clauseReporter(context, step))
  if (verdict.passed) return verdict
  const heartbeat = await readHeartbeat(ports.store, turn.id, instanceId)
  const console = await ports.compute.console(instanceId).catch(() => '')
  await turn.keepEvidence(evidenceOf(instanceId, verdict.host?.ami ?? turn.image.id, heartbeat, console))
  const line = heartbeat === null ? consoleReason(console) : null
  return line === null ? verdict : { ...verdict, reason: `${verdict.reason}; its console shows: ${line}` }
}

export function gateFailure(
  context: HostContext,
  verdict: Extract<GateVerdict, { passed: false }>,
  role: 'standby' | 'active',
) {
  const { id, image } = context.turn
  const what = role === 'active' ? 'is not healthy' : 'is not ready to take over'
  return new ClawctlError('HEALTH_FAILED', `${id} on ${verdict.host?.ami ?? image.id} ${what}: ${verdict.reason}.`, {
    hint: `Check \`clawctl fleet show ${id}\`, or deploy it with --ami and an AMI that is known to work.`,
  })
}

/**
 * Destroys one machine of the id and nothing else: through a guarded plan, or by EC2 if the state does not have it.
 */
export async function destroyMachine(
  context: RemovalContext,
  machine: Pick<Host, 'instanceId' | 'ami'>,
): Promise<void> {
  const { turn, rollout, ports } = context
  const { id } = turn
  const { instanceId, ami } = machine
  const observed = await observe(context.ports, context.gone)
  const slot = slotOf(observed, id, instanceId)
  if (slot !== null && !observed.gone.has(instanceId)) {
    const plan = await planChange({ kind: 'destroy', id, slot }, { ami, observed }, rollout, ports)
    await ports.tofu.apply(plan.file)
  } else if (slot === null) await terminate(context, instanceId)
  context.gone.add(instanceId)
  await ports.store.delete(heartbeatKey(id, instanceId)).catch(() => {})
}

/** Repeated until EC2 reports it: one answer of EC2 is not reliable. */
async function terminate(context: RemovalContext, instanceId: string): Promise<void> {
  const { compute, machines, clock } = context.ports
  const limits = { clock, timeoutMs: TERMINATED_WITHIN_MS, longestMs: EC2_POLL_MS }
  const result = await poll<true>(limits, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'terminated' || state === 'shutting-down') return { done: true }
    if (state === 'unknown')
      return (await isGone(context.ports, instanceId)) ? { done: true } : { wait: 'EC2 does not know it yet' }
    await machines.terminate(instanceId)
    return { wait: `EC2 reports ${state}` }
  })
  if ('done' in result) return
  throw new ClawctlError('APPLY_FAILED', `EC2 does not terminate ${instanceId}: ${result.timedOut}.`, {
    hint: `Check in EC2 what protects ${instanceId}, then deploy again.`,
  })
}

/** Gives the role to the serving machine, or to none, before another machine is created. */
export async function nameActive(context: HostContext, role: Role, holder: Host | null): Promise<Role> {
  const wanted = holder?.instanceId ?? NO_MACHINE
  if (role.active?.instanceId === wanted) return role
  const next = {
    id: context.turn.id,
    instanceId: holder?.instanceId ?? null,
    from: null,
    deploy: context.rollout.requestId,
  }
  return writeRole(context.ports, role, next)
}
