import pMap from 'p-map'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import type { Standing } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { ClawctlError } from '../../domain/errors.js'
import { AT_ONCE, type Tofu } from '../ports.js'
import { clauseReporter, destroyMachine, gate, gateFailure, type HostContext, slotOf } from './hostContext.js'
import { readHeartbeat } from './machineGate.js'
import { type Observation, observe, type Role, readRole, standingOfId, writeRole } from './observation.js'
import type { HostDeployPorts, HostResult } from './ports.js'
import { hostEnd, rollBackHandover } from './rollBack.js'
import { startMachine, waitForYield } from './transfer.js'

/**
 * Finishes or removes what an interrupted deploy of this id left: a role without a machine, an unfinished handover,
 * candidates that never got the role.
 * @returns the result, if the interrupted handover was already to the wanted AMI; else null
 */
export async function resume(context: HostContext): Promise<HostResult | null> {
  const { turn, ports } = context
  const observed = await observe(context.ports, context.gone)
  let role = await readRole(ports.store, turn.id)
  const found = standingOfId(observed, role, turn.id)
  const doomed = new Set(found.leftovers.map(({ instanceId }) => instanceId))
  for (const address of await untaintAll(observed, doomed, ports.tofu))
    await turn.at('resume', `${address} exists and is kept`)
  if (found.suspended)
    role = await restoreRole(turn.id, role, found, clauseReporter(context, 'resume'), context.rollout.requestId, ports)
  const concluded = found.predecessor ? await finishHandover(context, role, found) : null
  if (concluded) return concluded
  for (const leftover of found.leftovers) {
    if (slotOf(observed, turn.id, leftover.instanceId) === null && role.active === null) {
      throw new ClawctlError(
        'NOT_IN_STATE',
        `EC2 runs ${leftover.instanceId} as ${turn.id} beside another machine, the OpenTofu state does not have it, and no deploy named either of them. Nothing was changed.`,
        {
          hint: `Destroy the one that should not run: \`clawctl fleet recover ${turn.id} --terminate ${leftover.instanceId}\`.`,
        },
      )
    }
    await turn.at('resume', `${leftover.instanceId} was left by an earlier deploy and is destroyed`)
    await destroyMachine(context, leftover)
  }
  return null
}

/**
 * An interrupted create taints the resource, and the next plan would replace it. Existing resources are kept: the plan
 * shows where they differ from the stack.
 * @param except EC2 instance ids that will be destroyed anyway
 * @returns the addresses
 */
export async function untaintAll(
  { resources, gone }: Pick<Observation, 'resources' | 'gone'>,
  except: ReadonlySet<string>,
  tofu: Pick<Tofu, 'untaint'>,
): Promise<string[]> {
  const kept = taintedOf({ resources, gone }).filter(({ id }) => !except.has(id))
  for (const { address } of kept) await tofu.untaint(address)
  return kept.map(({ address }) => address)
}

/** Tainted resources that exist. */
export const taintedOf = ({ resources, gone }: Pick<Observation, 'resources' | 'gone'>) =>
  resources.flatMap(({ address, id, tainted }) => (tainted && id !== null && !gone.has(id) ? [{ address, id }] : []))

/**
 * Restores every role that an interrupted handover left without a machine. It runs before anything else and for all
 * instances, because an instance without an active machine must not wait for the other hosts.
 */
export async function restoreRoles(hosts: Host[], requestId: string, ports: HostDeployPorts): Promise<void> {
  const ids = [...new Set(hosts.map(({ id }) => id))].filter((id) => ID_PATTERN.test(id))
  const restoreOne = async (id: string) => {
    const role = await readRole(ports.store, id).catch(() => null)
    if (role === null) return
    const found = standingOfId({ hosts }, role, id)
    if (found.suspended)
      await restoreRole(id, role, found, (clause) => ports.progress.note(`${id}: ${clause}`), requestId, ports)
  }
  await pMap(ids, restoreOne, { concurrency: AT_ONCE })
}

/** Gives the role back to the machine that had it, after every other machine has yielded. */
export async function restoreRole(
  id: string,
  role: Role,
  { holder, leftovers }: Standing,
  say: (clause: string) => void,
  deploy: string,
  ports: HostDeployPorts,
): Promise<Role> {
  if (!holder) return role
  say(`a handover was interrupted: ${holder.instanceId} gets its role back`)
  for (const other of leftovers) {
    const heartbeat = await readHeartbeat(ports.store, id, other.instanceId)
    if (heartbeat?.stage !== 'active') continue
    await waitForYield({ id, from: other, before: heartbeat }, say, ports)
  }
  await startMachine(holder.instanceId, say, ports)
  return writeRole(ports, role, { id, instanceId: holder.instanceId, from: null, deploy })
}

/** The role was handed over, but the old machine still exists: the gate decides which of them stays. */
async function finishHandover(
  context: HostContext,
  role: Role,
  { holder, predecessor }: Standing,
): Promise<HostResult | null> {
  const { turn } = context
  if (!holder || !predecessor) return null
  await turn.at('resume', `an earlier deploy handed over to ${holder.instanceId} and did not end`)
  const verdict = await gate(context, holder.instanceId, 'active', 'resume')
  if (!verdict.passed) {
    const failure = gateFailure(context, verdict, 'active')
    return rollBackHandover(context, { home: predecessor, candidate: holder, role }, failure)
  }
  await destroyMachine(context, predecessor)
  return holder.ami === turn.image.id ? { ok: true, host: hostEnd(holder, 'replaced') } : null
}
