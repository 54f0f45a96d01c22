import type { Standing } from '../../domain/deploy/active.js'
import { instanceAddress } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { giveBack } from './giveBack.js'
import { readHeartbeat } from './machineGate.js'
import { type Picture, type Role, readRole, standing, writeRole } from './picture.js'
import type { HostResult } from './ports.js'
import { wake, yielded } from './transfer.js'
import { clauses, destroyMachine, gate, gateFailure, look, slotOf, type Work } from './work.js'

/**
 * Puts in order what an earlier deploy of this id left that did not end: a role that is with nobody, a handover that was
 * not concluded, candidates that were never handed to.
 * @returns the result where that is all there was to do: the wanted AMI had already been handed to
 */
export async function resume(work: Work): Promise<HostResult | null> {
  const { turn, ports } = work
  const picture = await look(work)
  let role = await readRole(ports.store, turn.id)
  const found = standing(picture, role, turn.id)
  await untaint(work, picture, found)
  if (found.suspended) role = await restore(work, role, found)
  const concluded = found.predecessor ? await conclude(work, role, found) : null
  if (concluded) return concluded
  for (const leftover of found.leftovers) {
    if (slotOf(picture, turn.id, leftover.instanceId) === null && role.active === null) {
      throw new ClawctlError(
        'NOT_IN_STATE',
        `EC2 runs ${leftover.instanceId} as ${turn.id} beside another machine, the OpenTofu state does not know it, and no deploy named either. Nothing was changed.`,
        { hint: `Terminate the one of both that should not run: ${leftover.instanceId} was found second.` },
      )
    }
    await turn.at('resume', `${leftover.instanceId} was left by an earlier deploy and is destroyed`)
    await destroyMachine(work, leftover)
  }
  return null
}

/** An interrupted create leaves a mark on which the next plan would replace the machine, whoever's it is. */
async function untaint(work: Work, picture: Picture, { leftovers }: Standing): Promise<void> {
  const spared = new Set(leftovers.map(({ instanceId }) => instanceId))
  for (const [id, placed] of picture.state) {
    for (const { slot, instanceId, tainted } of placed) {
      if (!tainted || instanceId === null || picture.gone.has(instanceId) || spared.has(instanceId)) continue
      await work.turn.at('resume', `${instanceId} of ${id} runs and is kept`)
      await work.ports.tofu.untaint(instanceAddress(id, slot))
    }
  }
}

/** The role is with nobody that runs: who had it gets it back, when no other machine acts any more. */
async function restore(work: Work, role: Role, { holder, leftovers }: Standing): Promise<Role> {
  const { turn, ports, rollout } = work
  if (!holder) return role
  const { id } = turn
  await turn.at('resume', `a handover was broken off: ${holder.instanceId} gets its role back`)
  for (const other of leftovers) {
    const heartbeat = await readHeartbeat(ports.store, id, other.instanceId)
    if (heartbeat?.stage !== 'active') continue
    await yielded({ id, from: other, before: heartbeat }, clauses(work, 'resume'), ports)
  }
  await wake(holder.instanceId, clauses(work, 'resume'), ports)
  return writeRole(ports, role, { id, instanceId: holder.instanceId, from: null, deploy: rollout.requestId })
}

/** The role was handed over and the predecessor is still there: the gate says who of both stays. */
async function conclude(work: Work, role: Role, { holder, predecessor }: Standing): Promise<HostResult | null> {
  const { turn } = work
  if (!holder || !predecessor) return null
  await turn.at('resume', `an earlier deploy handed over to ${holder.instanceId} and did not end`)
  const verdict = await gate(work, holder.instanceId, 'active', 'resume')
  const isWanted = holder.ami === turn.image.id
  if (!verdict.passed) {
    const result = await giveBack(
      work,
      { home: predecessor, candidate: holder, role },
      gateFailure(work, verdict, 'active'),
    )
    return isWanted || !result.ok ? result : null
  }
  await destroyMachine(work, predecessor)
  return isWanted ? { ok: true, host: { outcome: 'replaced', ami: holder.ami, instanceId: holder.instanceId } } : null
}
