import type { Host } from '../../domain/deploy/host.js'
import { placedAt, type Slot } from '../../domain/deploy/slots.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { planChange } from './applyChange.js'
import { refuseCancelled } from './cancelDeploy.js'
import { checkLaunch } from './checkLaunch.js'
import { endOn } from './giveBack.js'
import { handOver, stays } from './handOver.js'
import { readRole, standing, writeRole } from './picture.js'
import type { HostResult } from './ports.js'
import { resume } from './resume.js'
import { clauses, gate, gateFailure, look, nameHolder, slotOf, type Work } from './work.js'

/**
 * One host's deploy without a machine more: the old one is destroyed, then its successor comes up in its place. For
 * accounts that can't run one more; a host that does not exist yet is created as by handover.
 */
export async function replaceHost(work: Work): Promise<HostResult> {
  const { turn, rollout, ports } = work
  let before: Host | null = null
  let slot: Slot
  let file: string
  try {
    if (!rollout.planOnly) {
      await turn.at('resume')
      const resumed = await resume(work)
      if (resumed) return resumed
    }
    const picture = await look(work)
    const role = await readRole(ports.store, turn.id)
    before = (await standing(ports, { hosts: picture.hosts, gone: work.gone }, role, turn.id)).holder
    const placed = before && slotOf(picture, turn.id, before.instanceId)
    if (!before) return handOver(work)
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
      { ami: turn.image.id, picture },
      rollout,
      ports,
    )
    clauses(work, 'plan')(plan.lines.join(', '))
    await checkLaunch(work, plan.json, slot)
    if (!rollout.planOnly) await refuseCancelled(rollout.requestId, ports.store, 'before anything was changed')
    // Its successor waits in standby as long as the role is with it.
    if (!rollout.planOnly) await nameHolder(work, role, before)
    file = plan.file
  } catch (error) {
    return { ok: false, host: await stays(work, before), error: asClawctlError(error) }
  }
  if (rollout.planOnly) return { ok: true, host: { ...endOn(before, 'kept'), outcome: 'planned' } }
  const first = await bring(work, slot, file)
  if (first.ok) return { ok: true, host: endOn(first.host, 'replaced') }
  return goBack(work, { before, slot, ...first })
}

type Attempt = { ok: true; host: Host } | { ok: false; error: ClawctlError; seen: Host | null; applied: boolean }

/** Applies the plan, waits until what it made is ready, gives it the role, and waits until it is healthy. */
async function bring(work: Work, slot: Slot, file: string): Promise<Attempt> {
  const { turn, rollout, ports } = work
  let seen: Host | null = null
  let applied = false
  try {
    await turn.at('candidate', 'OpenTofu replaces it')
    await ports.tofu.apply(file)
    applied = true
    const instanceId = placedAt((await look(work)).state, turn.id, slot)?.instanceId
    if (!instanceId) throw new ClawctlError('APPLY_FAILED', `OpenTofu made ${turn.id}, and its state does not have it.`)
    const ready = await gate(work, instanceId, 'standby')
    seen = ready.host
    if (!ready.passed) return { ok: false, error: gateFailure(work, ready, 'standby'), seen, applied }
    await turn.at('handover')
    const role = await readRole(ports.store, turn.id)
    await writeRole(ports, role, { id: turn.id, instanceId, from: null, deploy: rollout.requestId })
    const healthy = await gate(work, instanceId, 'active')
    if (healthy.passed) return { ok: true, host: healthy.host }
    return { ok: false, error: gateFailure(work, healthy, 'active'), seen: healthy.host, applied }
  } catch (error) {
    return { ok: false, error: asClawctlError(error), seen, applied }
  }
}

/** Replaces what failed by the AMI that ran before, where it is known to be bad and there is one. */
async function goBack(
  work: Work,
  {
    before,
    slot,
    error,
    seen,
    applied,
  }: { before: Host; slot: Slot; error: ClawctlError; seen: Host | null; applied: boolean },
): Promise<HostResult> {
  const { turn, rollout, ports } = work
  const left = seen ? endOn(seen, 'failed') : { outcome: 'failed' as const, ami: null, instanceId: null }
  if (!applied) {
    // A failed apply may not have got as far as the old machine.
    const picture = await look(work).catch(() => null)
    const stands = picture?.hosts.some(
      (host) => host.instanceId === before.instanceId && host.state !== 'shutting-down',
    )
    if (!picture) return { ok: false, host: endOn(before, 'failed'), error }
    if (stands) return { ok: false, host: await stays(work, before), error }
  }
  if (error.code === 'CANCELLED') {
    const now = seen ? `it runs ${seen.ami} now and was not seen healthy` : 'what became of it was not seen'
    const interrupted = new ClawctlError('CANCELLED', `It was interrupted while ${turn.id} was deployed: ${now}.`, {
      hint: 'See `clawctl fleet status`, then deploy again: it resumes.',
    })
    return { ok: false, host: left, error: interrupted }
  }
  // Only what is known to be bad is replaced again: not a host that we may not look at.
  const isBad = error.code === 'HEALTH_FAILED' || error.code === 'APPLY_FAILED'
  if (!isBad || rollout.onFailure === 'stop') return { ok: false, host: left, error }
  if (before.ami === turn.image.id) {
    const same = `${error.message} It ran this AMI before, too, so there is no AMI to go back to.`
    return { ok: false, host: left, error: new ClawctlError(error.code, same, { hint: error.hint, cause: error }) }
  }
  await turn.at('rollback', `${error.message} Going back to ${before.ami}`)
  const second = await again(work, slot, before.ami)
  if (second.ok) {
    return {
      ok: false,
      host: endOn(second.host, 'rolled-back'),
      error: new ClawctlError('ROLLED_BACK', `${error.message} It runs ${before.ami} again.`, {
        hint: 'Look at the image before the next deploy.',
        cause: error,
      }),
    }
  }
  return {
    ok: false,
    host: second.seen ? endOn(second.seen, 'failed') : left,
    error: new ClawctlError(
      'ROLLBACK_FAILED',
      `${error.message} Going back to ${before.ami} failed as well: ${second.error.message}`,
      { hint: `Deploy ${turn.id} with --ami and an AMI that is known to work.`, cause: second.error },
    ),
  }

  async function again(work: Work, slot: Slot, ami: string): Promise<Attempt> {
    try {
      const picture = await look(work)
      const there = placedAt(picture.state, turn.id, slot)?.instanceId
      const exists = there && !picture.gone.has(there)
      const change = { kind: exists ? 'replace' : 'create', id: turn.id, slot } as const
      const plan = await planChange(change, { ami, picture }, rollout, ports)
      return await bring({ ...work, turn: { ...turn, image: { ...turn.image, id: ami } } }, slot, plan.file)
    } catch (cause) {
      return { ok: false, error: asClawctlError(cause), seen: null, applied: false }
    }
  }
}
