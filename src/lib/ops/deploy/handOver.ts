import type { Adoption } from '../../domain/deploy/expectation.js'
import type { Host } from '../../domain/deploy/host.js'
import { placedAt, SLOTS, type Slot, slotKey } from '../../domain/deploy/slots.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { planChange } from './applyChange.js'
import { refuseCancelled } from './cancelDeploy.js'
import { checkLaunch } from './checkLaunch.js'
import { clauseReporter, gate, gateFailure, type HostContext, nameActive, observeId, slotOf } from './hostContext.js'
import { type Observation, observe, type Role, serves, writeRole } from './observation.js'
import type { HostResult } from './ports.js'
import { endHandover, resume } from './resume.js'
import { destroyCandidate, hostEnd, rollBackHandover } from './rollBack.js'
import { transferRole } from './transfer.js'

/**
 * One host's deploy by handover: the candidate boots beside the active machine, gets the role when it has passed its gate,
 * and then the old machine is destroyed. It first reads EC2, the state and the role, and finishes or removes what a killed
 * deploy left.
 */
export async function handOver(context: HostContext): Promise<HostResult> {
  const { turn, rollout, ports } = context
  let holder: Host | null = null
  try {
    if (!rollout.planOnly) {
      await turn.at('resume')
      const resumed = await resume(context)
      if (resumed) return resumed
    }
    await turn.at('plan')
    const { observed, role, standing } = await observeId(context)
    holder = standing.holder
    const { slot, instances } = placeFor(turn.id, observed, holder)
    const change = { kind: 'create', id: turn.id, slot } as const
    const plan = await planChange(change, { ami: turn.image.id, instances, observed }, rollout, ports)
    clauseReporter(context, 'plan')(plan.lines.join(', '))
    await checkLaunch(context, plan.json, slot)
    if (rollout.planOnly) return { ok: true, host: hostEnd(holder, 'planned') }
    await refuseCancelled(rollout.requestId, ports.store, 'before anything was changed')
    return await withCandidate(context, {
      holder,
      slot,
      file: plan.file,
      role: await nameActive(context, role, holder),
    })
  } catch (error) {
    return { ok: false, host: await stays(context, holder), error: asClawctlError(error) }
  }
}

/** The end of a deploy that did not change the holder: `kept` if that one still serves, else `failed`. */
export async function stays({ ports }: HostContext, holder: Host | null): Promise<HostResult['host']> {
  return hostEnd(holder, holder && (await serves(ports, holder)) ? 'kept' : 'failed')
}

/** The candidate's slot, and the active machine if the same plan must adopt it. */
function placeFor(
  id: string,
  observed: Observation,
  holder: Host | null,
): { slot: Slot; instances: Adoption['instances'] } {
  const placed = holder ? slotOf(observed, id, holder.instanceId) : null
  // A machine without a slot tag is older than slots and is in slot a.
  const taken = holder ? (placed ?? holder.slot ?? 'a') : null
  const isFree = (slot: Slot) => slot !== taken && !placedAt(observed.state, id, slot)
  const isGone = (slot: Slot) =>
    slot !== taken && observed.gone.has(placedAt(observed.state, id, slot)?.instanceId ?? '')
  const slot = SLOTS.find(isFree) ?? SLOTS.find(isGone)
  if (!slot) {
    throw new ClawctlError(
      'DEPLOY_FAILED',
      `Both slots of ${id} have a machine: an earlier deploy of it did not end.`,
      {
        hint: `Deploy ${id} without --plan-only: that finishes or removes what it left.`,
      },
    )
  }
  if (!holder || taken === null || placed !== null) return { slot, instances: {} }
  if (placedAt(observed.state, id, taken)) {
    throw new ClawctlError(
      'NOT_IN_STATE',
      `EC2 runs ${holder.instanceId} as ${id}, but the OpenTofu state has another machine in its slot. Nothing was changed.`,
      {
        hint: `See \`clawctl fleet recover ${id} --plan-only\`, then destroy the one that should not run with --terminate.`,
      },
    )
  }
  return { slot, instances: { [slotKey(id, taken)]: holder.instanceId } }
}

async function withCandidate(
  context: HostContext,
  { holder, slot, file, role }: { holder: Host | null; slot: Slot; file: string; role: Role },
): Promise<HostResult> {
  const { turn, ports } = context
  await turn.at('candidate', 'OpenTofu creates it')
  try {
    await ports.tofu.apply(file)
  } catch (error) {
    const left = await findCandidate(context, holder, slot).catch(() => null)
    return discard(context, holder, left, applyFailure(asClawctlError(error)))
  }
  let made: Awaited<ReturnType<typeof findCandidate>>
  try {
    made = await findCandidate(context, holder, slot)
  } catch (cause) {
    const { code, message, hint } = asClawctlError(cause)
    const why = `OpenTofu created ${turn.id}, but its state or EC2 could not be read after that: ${message}`
    return discard(context, holder, null, new ClawctlError(code, why, { hint, cause }))
  }
  if (!made) {
    const error = new ClawctlError('APPLY_FAILED', `OpenTofu created ${turn.id}, but its state does not have it.`)
    return discard(context, holder, null, error)
  }
  clauseReporter(context, 'candidate')(`${made.instanceId} was created`)
  const ready = await gate(context, made.instanceId, 'standby')
  if (!ready.passed) return discard(context, holder, made, gateFailure(context, ready, 'standby'))
  return takeOver(context, { holder, candidate: ready.host, role })
}

/** The candidate in this slot of the state, or only in EC2. */
async function findCandidate(
  context: HostContext,
  holder: Host | null,
  slot: Slot,
): Promise<Pick<Host, 'instanceId' | 'ami'> | null> {
  const { turn } = context
  const observed = await observe(context.ports, context.gone)
  const placed = placedAt(observed.state, turn.id, slot)?.instanceId
  if (placed && !observed.gone.has(placed)) return { instanceId: placed, ami: turn.image.id }
  const isLeft = (host: Host) =>
    host.id === turn.id && host.instanceId !== holder?.instanceId && host.state !== 'shutting-down'
  return observed.hosts.find(isLeft) ?? null
}

/** Adds what a person can do if EC2 has no capacity for another machine. */
function applyFailure(error: ClawctlError): ClawctlError {
  if (!/InsufficientInstanceCapacity|VcpuLimitExceeded|InstanceLimitExceeded/.test(error.message)) return error
  return new ClawctlError('NO_CAPACITY', error.message, {
    hint: 'Try again later, raise the vCPU limit, or pass --strategy replace: it needs no additional machine, but stops the old one first.',
    cause: error,
  })
}

/** Failures after which the candidate can't be used. */
const CANDIDATE_FAILURES: readonly string[] = ['HEALTH_FAILED', 'APPLY_FAILED', 'NO_CAPACITY']

/**
 * After a failure before the handover: destroys the candidate; the active machine was not changed.
 * @param destroys false leaves the candidate to the next deploy
 */
async function discard(
  context: HostContext,
  holder: Host | null,
  candidate: Pick<Host, 'instanceId' | 'ami'> | null,
  error: ClawctlError,
  destroys = CANDIDATE_FAILURES.includes(error.code),
): Promise<HostResult> {
  const { turn, rollout } = context
  if (!destroys) return { ok: false, host: await stays(context, holder), error }
  let left = ''
  if (candidate && rollout.onFailure === 'stop') left = ` The candidate ${candidate.instanceId} was not changed.`
  else if (candidate) {
    await turn.at('rollback', `the candidate ${candidate.instanceId} is destroyed`)
    left = await destroyCandidate(context, candidate)
  }
  const host = await stays(context, holder)
  const isKept = holder !== null && host.outcome === 'kept'
  const stands = isKept
    ? `${holder.instanceId} goes on serving with ${holder.ami}.`
    : holder
      ? `${holder.instanceId} does not serve either.`
      : 'It did not exist before, so no machine serves.'
  const code = isKept && error.code !== 'CANCELLED' ? 'KEPT' : error.code
  const { hint } = error
  return {
    ok: false,
    host,
    error: new ClawctlError(code, `${error.message} ${stands}${left}`, { hint, cause: error }),
  }
}

async function takeOver(
  context: HostContext,
  { holder, candidate, role }: { holder: Host | null; candidate: Host; role: Role },
): Promise<HostResult> {
  const { turn, rollout, ports } = context
  const { id } = turn
  await turn.at('handover')
  let handed: Role
  let isStopped = false
  try {
    await refuseCancelled(rollout.requestId, ports.store, `before ${id} was handed over`)
  } catch (cause) {
    const error = asClawctlError(cause)
    return discard(context, holder, candidate, error, error.code === 'CANCELLED')
  }
  try {
    const deploy = rollout.requestId
    const transfer = holder && { id, from: holder, to: candidate, home: holder, deploy }
    handed = transfer
      ? await transferRole(role, transfer, clauseReporter(context, 'handover'), ports, () => {
          isStopped = true
        })
      : await writeRole(ports, role, { id, instanceId: candidate.instanceId, from: null, deploy })
  } catch (cause) {
    const error = asClawctlError(cause)
    if (!holder || !isStopped) return discard(context, holder, candidate, error)
    const why = `${error.message} EC2 was asked to stop ${holder.instanceId} for the handover, and it is not known to serve ${id} again.`
    return { ok: false, host: hostEnd(holder, 'failed'), error: resumable(context, error, why) }
  }
  try {
    return await finishTakeOver(context, { holder, candidate, role: handed })
  } catch (cause) {
    const error = asClawctlError(cause)
    const why = `${error.message} ${id} was handed over to ${candidate.instanceId}, which was not healthy yet.`
    return { ok: false, host: hostEnd(candidate, 'failed'), error: resumable(context, error, why) }
  }
}

/** A failure that the next deploy of the id resolves. */
const resumable = ({ turn }: HostContext, cause: ClawctlError, why: string) =>
  new ClawctlError(cause.code, why, { hint: `Deploy ${turn.id} again: it goes on from there.`, cause })

/** After the role was handed over: the candidate passes and the old machine is destroyed, or the handover is rolled back. */
async function finishTakeOver(
  context: HostContext,
  { holder, candidate, role }: { holder: Host | null; candidate: Host; role: Role },
): Promise<HostResult> {
  const { turn, rollout, ports } = context
  const { id } = turn
  const verdict = await gate(context, candidate.instanceId, 'active')
  if (!verdict.passed) {
    const failure = gateFailure(context, verdict, 'active')
    if (rollout.onFailure === 'stop') return { ok: false, host: hostEnd(candidate, 'failed'), error: failure }
    if (holder) return rollBackHandover(context, { home: holder, candidate, role }, failure)
    await writeRole(ports, role, { id, instanceId: null, from: null, deploy: rollout.requestId })
    return discard(context, null, candidate, failure)
  }
  if (!holder) return { ok: true, host: hostEnd(candidate, 'created') }
  await turn.at('cleanup', `${holder.instanceId} is destroyed`)
  try {
    await endHandover(context, role, holder)
  } catch (cause) {
    const error = asClawctlError(cause)
    const why = `${id} serves on ${candidate.instanceId}, but its old machine ${holder.instanceId} could not be destroyed: ${error.message}`
    return { ok: false, host: hostEnd(candidate, 'failed'), error: resumable(context, error, why) }
  }
  return { ok: true, host: hostEnd(candidate, 'replaced') }
}
