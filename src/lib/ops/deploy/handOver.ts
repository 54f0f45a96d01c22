import type { Adoption } from '../../domain/deploy/expectation.js'
import type { Host } from '../../domain/deploy/host.js'
import { placedAt, SLOTS, type Slot, slotKey } from '../../domain/deploy/slots.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { planChange } from './applyChange.js'
import { checkLaunch } from './checkLaunch.js'
import { endOn, giveBack, removed } from './giveBack.js'
import { type Picture, type Role, readRole, standing, writeRole } from './picture.js'
import type { HostResult } from './ports.js'
import { resume } from './resume.js'
import { transferRole } from './transfer.js'
import { clauses, destroyMachine, gate, gateFailure, look, nameHolder, slotOf, type Work } from './work.js'

/**
 * One host's deploy by handover: the successor boots beside the machine that serves, takes the role when it has passed,
 * and only then the old machine is destroyed. It begins with what EC2, the state and the role say: what a deploy left
 * that was killed anywhere is gone on with, or cleared away.
 */
export async function handOver(work: Work): Promise<HostResult> {
  const { turn, rollout, ports } = work
  let holder: Host | null = null
  try {
    if (!rollout.planOnly) {
      await turn.at('resume')
      const resumed = await resume(work)
      if (resumed) return resumed
    }
    await turn.at('plan')
    const picture = await look(work)
    const role = await readRole(ports.store, turn.id)
    holder = standing(picture, role, turn.id).holder
    const { slot, instances } = placeFor(turn.id, picture, holder)
    const change = { kind: 'create', id: turn.id, slot } as const
    const plan = await planChange(change, { ami: turn.image.id, instances, picture }, rollout, ports)
    clauses(work, 'plan')(plan.lines.join(', '))
    await checkLaunch(work, plan.json, slot)
    if (rollout.planOnly) return { ok: true, host: stays(holder, 'planned') }
    return await withCandidate(work, { holder, slot, file: plan.file, role: await nameHolder(work, role, holder) })
  } catch (error) {
    return { ok: false, host: stays(holder, holder ? 'kept' : 'failed'), error: asClawctlError(error) }
  }
}

const stays = (holder: Host | null, outcome: 'planned' | 'kept' | 'failed') => ({
  outcome,
  ami: holder?.ami ?? null,
  instanceId: holder?.instanceId ?? null,
})

/** Where the candidate goes, and whether the machine that serves has to be adopted by the same plan. */
function placeFor(id: string, picture: Picture, holder: Host | null): { slot: Slot; instances: Adoption['instances'] } {
  const placed = holder ? slotOf(picture, id, holder.instanceId) : null
  // A machine of before there were slots is in slot a.
  const taken = holder ? (placed ?? holder.slot ?? 'a') : null
  const isFree = (slot: Slot) => slot !== taken && !placedAt(picture.state, id, slot)
  const isGone = (slot: Slot) => slot !== taken && picture.gone.has(placedAt(picture.state, id, slot)?.instanceId ?? '')
  const slot = SLOTS.find(isFree) ?? SLOTS.find(isGone)
  if (!slot) {
    throw new ClawctlError(
      'DEPLOY_FAILED',
      `Both slots of ${id} have a machine: an earlier deploy of it did not end.`,
      {
        hint: `Deploy ${id} without --plan-only: that goes on from what stands.`,
      },
    )
  }
  if (!holder || taken === null || placed !== null) return { slot, instances: {} }
  if (placedAt(picture.state, id, taken)) {
    throw new ClawctlError(
      'NOT_IN_STATE',
      `EC2 runs ${holder.instanceId} as ${id}, and the OpenTofu state has another machine at its place. Nothing was changed.`,
      {
        hint: `See \`clawctl fleet recover ${id} --plan-only\`, then end the one that should not run with --terminate.`,
      },
    )
  }
  return { slot, instances: { [slotKey(id, taken)]: holder.instanceId } }
}

async function withCandidate(
  work: Work,
  { holder, slot, file, role }: { holder: Host | null; slot: Slot; file: string; role: Role },
): Promise<HostResult> {
  const { turn, ports } = work
  await turn.at('candidate', 'OpenTofu creates it')
  try {
    await ports.tofu.apply(file)
  } catch (error) {
    return discard(work, holder, await madeAt(work, holder, slot), applyFailure(asClawctlError(error)))
  }
  const made = await madeAt(work, holder, slot)
  if (!made) {
    const error = new ClawctlError('APPLY_FAILED', `OpenTofu created ${turn.id}, and its state does not have it.`)
    return discard(work, holder, null, error)
  }
  clauses(work, 'candidate')(`${made.instanceId} was created`)
  const ready = await gate(work, made.instanceId, 'standby')
  if (!ready.passed) return discard(work, holder, made, gateFailure(work, ready, 'standby'))
  return takeOver(work, { holder, candidate: ready.host, role })
}

/** The candidate that the state has in this slot, or that EC2 has and the state does not. */
async function madeAt(work: Work, holder: Host | null, slot: Slot): Promise<Pick<Host, 'instanceId' | 'ami'> | null> {
  const { turn } = work
  const picture = await look(work).catch(() => null)
  if (!picture) return null
  const placed = placedAt(picture.state, turn.id, slot)?.instanceId
  if (placed && !picture.gone.has(placed)) return { instanceId: placed, ami: turn.image.id }
  const isLeft = (host: Host) =>
    host.id === turn.id && host.instanceId !== holder?.instanceId && host.state !== 'shutting-down'
  return picture.hosts.find(isLeft) ?? null
}

/** What a person can do about it, where EC2 has no room for one machine more. */
function applyFailure(error: ClawctlError): ClawctlError {
  if (!/InsufficientInstanceCapacity|VcpuLimitExceeded|InstanceLimitExceeded/.test(error.message)) return error
  return new ClawctlError('NO_CAPACITY', error.message, {
    hint: 'Try again later, raise the vCPU limit, or pass --strategy replace: it takes no machine more, and stops the old one first.',
    cause: error,
  })
}

/** Before the handover: the candidate goes, and who serves was never touched. */
async function discard(
  work: Work,
  holder: Host | null,
  candidate: Pick<Host, 'instanceId' | 'ami'> | null,
  error: ClawctlError,
): Promise<HostResult> {
  const { turn, rollout } = work
  const isOurs = error.code === 'HEALTH_FAILED' || error.code === 'APPLY_FAILED' || error.code === 'NO_CAPACITY'
  if (!isOurs) return { ok: false, host: stays(holder, holder ? 'kept' : 'failed'), error }
  let left = ''
  if (candidate && rollout.onFailure === 'stop') left = ` The candidate ${candidate.instanceId} is left as it is.`
  else if (candidate) {
    await turn.at('rollback', `the candidate ${candidate.instanceId} is destroyed`)
    left = await removed(work, candidate)
  }
  const hint = error.hint
  if (!holder) {
    const failed = new ClawctlError(error.code, `${error.message} It did not exist before, so nothing serves.${left}`, {
      hint,
      cause: error,
    })
    return { ok: false, host: stays(null, 'failed'), error: failed }
  }
  const kept = new ClawctlError(
    'KEPT',
    `${error.message} ${holder.instanceId} goes on serving with ${holder.ami}.${left}`,
    { hint, cause: error },
  )
  return { ok: false, host: endOn(holder, 'kept'), error: kept }
}

async function takeOver(
  work: Work,
  { holder, candidate, role }: { holder: Host | null; candidate: Host; role: Role },
): Promise<HostResult> {
  const { turn, rollout, ports } = work
  const { id } = turn
  await turn.at('handover')
  let handed: Role
  try {
    const deploy = rollout.requestId
    handed = holder
      ? await transferRole(
          role,
          { id, from: holder, to: candidate, home: holder, deploy },
          clauses(work, 'handover'),
          ports,
        )
      : await writeRole(ports, role, { id, instanceId: candidate.instanceId, from: null, deploy })
  } catch (error) {
    return discard(work, holder, candidate, asClawctlError(error))
  }
  const verdict = await gate(work, candidate.instanceId, 'active')
  if (!verdict.passed) {
    const failure = gateFailure(work, verdict, 'active')
    if (rollout.onFailure === 'stop') return { ok: false, host: endOn(candidate, 'failed'), error: failure }
    if (holder) return giveBack(work, { home: holder, candidate, role: handed }, failure)
    await writeRole(ports, handed, { id, instanceId: null, from: null, deploy: rollout.requestId })
    return discard(work, null, candidate, failure)
  }
  if (!holder) return { ok: true, host: endOn(candidate, 'created') }
  await turn.at('cleanup', `${holder.instanceId} is destroyed`)
  try {
    await destroyMachine(work, holder)
  } catch (error) {
    const { code, message } = asClawctlError(error)
    const why = `${id} serves on ${candidate.instanceId}, but its predecessor ${holder.instanceId} could not be destroyed: ${message}`
    return {
      ok: false,
      host: endOn(candidate, 'failed'),
      error: new ClawctlError(code, why, { hint: `Deploy ${id} again: it goes on from there.`, cause: error }),
    }
  }
  return { ok: true, host: endOn(candidate, 'replaced') }
}
