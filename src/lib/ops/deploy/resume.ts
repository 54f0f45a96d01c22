import pMap from 'p-map'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import type { Standing } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { AT_ONCE, type Tofu } from '../ports.js'
import { giveBack } from './giveBack.js'
import { readHeartbeat } from './machineGate.js'
import { type Picture, type Role, readRole, standing, writeRole } from './picture.js'
import type { HostDeployPorts, HostResult } from './ports.js'
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
  const found = await standing(ports, { hosts: picture.hosts, gone: work.gone }, role, turn.id)
  const doomed = new Set(found.leftovers.map(({ instanceId }) => instanceId))
  for (const address of await untaintAll(picture, doomed, ports.tofu))
    await turn.at('resume', `${address} exists and is kept`)
  const say = clauses(work, 'resume')
  role = await restore({ id: turn.id, role, found, deploy: work.rollout.requestId }, say, ports, (error) =>
    // Its successor needs no predecessor that runs.
    say(error.message),
  )
  const concluded = found.predecessor ? await conclude(work, role, found) : null
  if (concluded) return concluded
  for (const leftover of found.leftovers) {
    if (slotOf(picture, turn.id, leftover.instanceId) === null && role.active === null) {
      throw new ClawctlError(
        'NOT_IN_STATE',
        `EC2 runs ${leftover.instanceId} as ${turn.id} beside another machine, the OpenTofu state does not know it, and no deploy named either. Nothing was changed.`,
        {
          hint: `End the one of both that should not run: \`clawctl fleet recover ${turn.id} --terminate ${leftover.instanceId}\`.`,
        },
      )
    }
    await turn.at('resume', `${leftover.instanceId} was left by an earlier deploy and is destroyed`)
    await destroyMachine(work, leftover)
  }
  return null
}

/**
 * An interrupted create leaves a mark on which the next plan would replace the resource, whoever's it is. What exists is
 * kept: where it is not as the stack has it, a plan says so.
 * @param except EC2 instance ids that are going to be destroyed anyway
 * @returns the addresses
 */
export async function untaintAll(
  { resources, gone }: Pick<Picture, 'resources' | 'gone'>,
  except: ReadonlySet<string>,
  tofu: Pick<Tofu, 'untaint'>,
): Promise<string[]> {
  const kept = taintedOf({ resources, gone }).filter(({ id }) => !except.has(id))
  for (const { address } of kept) await tofu.untaint(address)
  return kept.map(({ address }) => address)
}

/** What is marked, and exists. */
export const taintedOf = ({ resources, gone }: Pick<Picture, 'resources' | 'gone'>) =>
  resources.flatMap(({ address, id, tainted }) => (tainted && id !== null && !gone.has(id) ? [{ address, id }] : []))

/**
 * Gives back, before a deploy does anything else, every role that a handover which was broken off left with nobody: of
 * all instances, because whoever has no machine that acts can't wait for its turn. A machine that a person stopped is left
 * to its own deploy.
 * @param hosts as EC2 lists them while nobody else may change the state
 */
export async function restoreRoles(hosts: readonly Host[], deploy: string, ports: HostDeployPorts): Promise<void> {
  const ids = [...new Set(hosts.map(({ id }) => id))].filter((id) => ID_PATTERN.test(id))
  const restoreOne = async (id: string) => {
    const role = await readRole(ports.store, id).catch(() => null)
    if (role === null) return
    const say = (clause: string) => ports.progress.note(`${id}: ${clause}`)
    try {
      const found = await standing(ports, { hosts, gone: new Set() }, role, id)
      if (found.suspended) await restore({ id, role, found, deploy }, say, ports)
    } catch (error) {
      const { code, message } = asClawctlError(error)
      if (code === 'CANCELLED') throw error
      // What one instance lacks is no reason to leave the others without their deploy, or this one.
      say(`its role could not be given back: ${message}`)
    }
  }
  await pMap(ids, restoreOne, { concurrency: AT_ONCE })
}

/**
 * Makes the holder serve again where the role is with nobody that runs, or EC2 has stopped it: when no other machine acts
 * any more it is started and named.
 * @param onStuck called where it can not be started, which is thrown without it
 */
export async function restore(
  { id, role, found, deploy }: { id: string; role: Role; found: Standing; deploy: string },
  say: (clause: string) => void,
  ports: HostDeployPorts,
  onStuck?: (error: ClawctlError) => void,
): Promise<Role> {
  const { holder, leftovers, suspended, stopped } = found
  if (!holder || !(suspended || stopped)) return role
  if (suspended) say(`a handover was broken off: ${holder.instanceId} gets its role back`)
  else say(`${holder.instanceId}, which has the role, is ${holder.state}: EC2 starts it`)
  for (const other of leftovers) {
    const heartbeat = await readHeartbeat(ports.store, id, other.instanceId)
    if (heartbeat?.stage !== 'active') continue
    await yielded({ id, from: other, before: heartbeat }, say, ports)
  }
  try {
    await wake(holder.instanceId, say, ports)
  } catch (error) {
    const known = asClawctlError(error)
    if (!onStuck || known.code === 'CANCELLED') throw known
    onStuck(known)
    return role
  }
  return suspended ? writeRole(ports, role, { id, instanceId: holder.instanceId, from: null, deploy }) : role
}

/** The predecessor goes, and is no longer the one that gets the role back. */
export async function endHandover(work: Work, role: Role, predecessor: Host): Promise<void> {
  const { active } = role
  await destroyMachine(work, predecessor)
  if (!active) return
  const next = { id: active.id, instanceId: active.instanceId, from: null, deploy: work.rollout.requestId }
  // A machine that is gone gets nothing back, whatever the object says.
  await writeRole(work.ports, role, next).catch(() => {})
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
  await endHandover(work, role, predecessor)
  return isWanted ? { ok: true, host: { outcome: 'replaced', ami: holder.ami, instanceId: holder.instanceId } } : null
}
