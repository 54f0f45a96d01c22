import type { Host } from '../../domain/deploy/host.js'
import { placedAt, type Slot } from '../../domain/deploy/slots.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { planChange } from './applyChange.js'
import { refuseCancelled } from './cancelDeploy.js'
import { checkLaunch } from './checkLaunch.js'
import { handOver, stays } from './handOver.js'
import { clauseReporter, gate, gateFailure, type HostContext, nameActive, observeId, slotOf } from './hostContext.js'
import { observe, readRole, writeRole } from './observation.js'
import type { HostResult } from './ports.js'
import { resume } from './resume.js'
import { hostEnd } from './rollBack.js'

/**
 * One host's deploy without an additional machine: the old machine is destroyed, then the candidate boots in its slot. For
 * accounts that can't run another machine. A host that does not exist yet is created as by handover.
 */
export async function replaceHost(context: HostContext): Promise<HostResult> {
  const { turn, rollout, ports } = context
  let before: Host | null = null
  let slot: Slot
  let file: string
  try {
    if (!rollout.planOnly) {
      await turn.at('resume')
      const resumed = await resume(context)
      if (resumed) return resumed
    }
    const { observed, role, standing } = await observeId(context)
    before = standing.holder
    const placed = before && slotOf(observed, turn.id, before.instanceId)
    if (!before) return handOver(context)
    if (!placed) {
      throw new ClawctlError(
        'NOT_IN_STATE',
        `EC2 runs ${before.instanceId} as ${turn.id}, but the OpenTofu state does not know it. Nothing was changed.`,
        {
          hint: 'Deploy it without --strategy replace: a handover adopts it.',
        },
      )
    }
    slot = placed
    await turn.at('plan')
    const plan = await planChange(
      { kind: 'replace', id: turn.id, slot },
      { ami: turn.image.id, observed },
      rollout,
      ports,
    )
    clauseReporter(context, 'plan')(plan.lines.join(', '))
    await checkLaunch(context, plan.json, slot)
    if (!rollout.planOnly) await refuseCancelled(rollout.requestId, ports.store, 'before anything was changed')
    // While the old machine has the role, its candidate waits in standby.
    if (!rollout.planOnly) await nameActive(context, role, before)
    file = plan.file
  } catch (error) {
    return { ok: false, host: await stays(context, before), error: asClawctlError(error) }
  }
  if (rollout.planOnly) return { ok: true, host: hostEnd(before, 'planned') }
  const first = await bringUp(context, slot, file)
  if (first.ok) return { ok: true, host: hostEnd(first.host, 'replaced') }
  return rollBackReplacement(context, { before, slot, ...first })
}

type Attempt = { ok: true; host: Host } | { ok: false; error: ClawctlError; seen: Host | null; applied: boolean }

/** Applies the plan, waits until the new machine is ready, gives it the role, and waits until it is healthy. */
async function bringUp(context: HostContext, slot: Slot, file: string): Promise<Attempt> {
  const { turn, rollout, ports } = context
  let seen: Host | null = null
  let applied = false
  try {
    await turn.at('candidate', 'OpenTofu replaces it')
    await ports.tofu.apply(file)
    applied = true
    const instanceId = placedAt((await observe(context.ports, context.gone)).state, turn.id, slot)?.instanceId
    if (!instanceId)
      throw new ClawctlError('APPLY_FAILED', `OpenTofu created ${turn.id}, but its state does not have it.`)
    const ready = await gate(context, instanceId, 'standby')
    seen = ready.host
    if (!ready.passed) return { ok: false, error: gateFailure(context, ready, 'standby'), seen, applied }
    await turn.at('handover')
    const role = await readRole(ports.store, turn.id)
    await writeRole(ports, role, { id: turn.id, instanceId, from: null, deploy: rollout.requestId })
    const healthy = await gate(context, instanceId, 'active')
    if (healthy.passed) return { ok: true, host: healthy.host }
    return { ok: false, error: gateFailure(context, healthy, 'active'), seen: healthy.host, applied }
  } catch (error) {
    return { ok: false, error: asClawctlError(error), seen, applied }
  }
}

/** Replaces a machine that failed by one with the AMI that ran before. */
async function rollBackReplacement(
  context: HostContext,
  {
    before,
    slot,
    error,
    seen,
    applied,
  }: { before: Host; slot: Slot; error: ClawctlError; seen: Host | null; applied: boolean },
): Promise<HostResult> {
  const { turn, rollout, ports } = context
  const left = hostEnd(seen, 'failed')
  if (!applied) {
    // A failed apply may not have destroyed the old machine yet.
    const observed = await observe(context.ports, context.gone).catch(() => null)
    const stands = observed?.hosts.some(
      (host) => host.instanceId === before.instanceId && host.state !== 'shutting-down',
    )
    if (!observed) return { ok: false, host: hostEnd(before, 'failed'), error }
    if (stands) return { ok: false, host: await stays(context, before), error }
  }
  if (error.code === 'CANCELLED') {
    const now = seen ? `it runs ${seen.ami} and was not healthy yet` : 'its state is unknown'
    const interrupted = new ClawctlError('CANCELLED', `The deploy of ${turn.id} was interrupted: ${now}.`, {
      hint: 'See `clawctl fleet status`, then deploy again: it resumes.',
    })
    return { ok: false, host: left, error: interrupted }
  }
  // Other failures, such as DENIED, do not mean that the machine is bad.
  const isBad = error.code === 'HEALTH_FAILED' || error.code === 'APPLY_FAILED'
  if (!isBad || rollout.onFailure === 'stop') return { ok: false, host: left, error }
  if (before.ami === turn.image.id) {
    const same = `${error.message} It ran this AMI before, too, so there is no rollback target.`
    return { ok: false, host: left, error: new ClawctlError(error.code, same, { hint: error.hint, cause: error }) }
  }
  await turn.at('rollback', `${error.message} Rolling back to ${before.ami}`)
  const second = await again(context, slot, before.ami)
  if (second.ok) {
    return {
      ok: false,
      host: hostEnd(second.host, 'rolled-back'),
      error: new ClawctlError('ROLLED_BACK', `${error.message} It runs ${before.ami} again.`, {
        hint: 'Check the image before the next deploy.',
        cause: error,
      }),
    }
  }
  return {
    ok: false,
    host: second.seen ? hostEnd(second.seen, 'failed') : left,
    error: new ClawctlError(
      'ROLLBACK_FAILED',
      `${error.message} The rollback to ${before.ami} failed as well: ${second.error.message}`,
      { hint: `Deploy ${turn.id} with --ami and an AMI that is known to work.`, cause: second.error },
    ),
  }

  async function again(context: HostContext, slot: Slot, ami: string): Promise<Attempt> {
    try {
      const observed = await observe(context.ports, context.gone)
      const there = placedAt(observed.state, turn.id, slot)?.instanceId
      const exists = there && !observed.gone.has(there)
      const change = { kind: exists ? 'replace' : 'create', id: turn.id, slot } as const
      const plan = await planChange(change, { ami, observed }, rollout, ports)
      return await bringUp({ ...context, turn: { ...turn, image: { ...turn.image, id: ami } } }, slot, plan.file)
    } catch (cause) {
      return { ok: false, error: asClawctlError(cause), seen: null, applied: false }
    }
  }
}
