import pMap from 'p-map'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import type { Standing } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { ClawctlError } from '../../domain/errors.js'
import { AT_ONCE, type Tofu } from '../ports.js'
import { endOn, giveBack } from './giveBack.js'
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
  const found = standing(picture, role, turn.id)
  const doomed = new Set(found.leftovers.map(({ instanceId }) => instanceId))
  for (const address of await untaintAll(picture, doomed, ports.tofu))
    await turn.at('resume', `${address} exists and is kept`)
  if (found.suspended)
    role = await restore(turn.id, role, found, clauses(work, 'resume'), work.rollout.requestId, ports)
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
 * all instances, because whoever has no machine that acts can't wait for its turn.
 */
export async function restoreRoles(hosts: Host[], requestId: string, ports: HostDeployPorts): Promise<void> {
  const ids = [...new Set(hosts.map(({ id }) => id))].filter((id) => ID_PATTERN.test(id))
  const restoreOne = async (id: string) => {
    const role = await readRole(ports.store, id).catch(() => null)
    if (role === null) return
    const found = standing({ hosts }, role, id)
    if (found.suspended)
      await restore(id, role, found, (clause) => ports.progress.note(`${id}: ${clause}`), requestId, ports)
  }
  await pMap(ids, restoreOne, { concurrency: AT_ONCE })
}

/** The role is with nobody that runs: who had it gets it back, when no other machine acts any more. */
export async function restore(
  id: string,
  role: Role,
  { holder, leftovers }: Standing,
  say: (clause: string) => void,
  deploy: string,
  ports: HostDeployPorts,
): Promise<Role> {
  if (!holder) return role
  say(`a handover was broken off: ${holder.instanceId} gets its role back`)
  for (const other of leftovers) {
    const heartbeat = await readHeartbeat(ports.store, id, other.instanceId)
    if (heartbeat?.stage !== 'active') continue
    await yielded({ id, from: other, before: heartbeat }, say, ports)
  }
  await wake(holder.instanceId, say, ports)
  return writeRole(ports, role, { id, instanceId: holder.instanceId, from: null, deploy })
}

/** The role was handed over and the predecessor is still there: the gate says who of both stays. */
async function conclude(work: Work, role: Role, { holder, predecessor }: Standing): Promise<HostResult | null> {
  const { turn } = work
  if (!holder || !predecessor) return null
  await turn.at('resume', `an earlier deploy handed over to ${holder.instanceId} and did not end`)
  const verdict = await gate(work, holder.instanceId, 'active', 'resume')
  if (!verdict.passed)
    return giveBack(work, { home: predecessor, candidate: holder, role }, gateFailure(work, verdict, 'active'))
  await destroyMachine(work, predecessor)
  return holder.ami === turn.image.id ? { ok: true, host: endOn(holder, 'replaced') } : null
}
