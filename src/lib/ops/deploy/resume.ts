import pMap from 'p-map'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import type { Standing } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { findEntry } from '../../domain/registry/registry.js'
import { AT_ONCE, type Tofu } from '../ports.js'
import {
  clauseReporter,
  destroyMachine,
  gate,
  gateFailure,
  type HostContext,
  observeId,
  slotOf,
} from './hostContext.js'
import { readHeartbeat } from './machineGate.js'
import { type Observation, type Role, readRole, standingOfId, writeRole } from './observation.js'
import type { HostDeployPorts, HostResult } from './ports.js'
import { hostEnd, rollBackHandover } from './rollBack.js'
import { startMachine, waitForYield } from './transfer.js'

/**
 * Finishes or removes what an interrupted deploy of this id left: a role without a machine, an unfinished handover,
 * candidates that never got the role.
 * @returns the result, if the interrupted handover was already to what this deploy would launch; else null
 */
export async function resume(context: HostContext): Promise<HostResult | null> {
  const { turn, ports } = context
  const { observed, standing: found, ...read } = await observeId(context)
  let { role } = read
  const doomed = new Set(found.leftovers.map(({ instanceId }) => instanceId))
  for (const address of await untaintAll(observed, doomed, ports.tofu))
    await turn.at('resume', `${address} exists and is kept`)
  const say = clauseReporter(context, 'resume')
  role = await restoreRole({ id: turn.id, role, found, deploy: context.rollout.requestId }, say, ports, (error) =>
    // The deploy replaces it.
    say(error.message),
  )
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
 * instances, because an instance without an active machine must not wait for the other hosts. A machine that EC2 stopped
 * for another reason stays stopped until its own deploy: a person may have stopped it.
 * @param hosts read while this deploy holds the lock of the state
 */
export async function restoreRoles(hosts: readonly Host[], deploy: string, ports: HostDeployPorts): Promise<void> {
  const ids = [...new Set(hosts.map(({ id }) => id))].filter((id) => ID_PATTERN.test(id))
  const restoreOne = async (id: string) => {
    const role = await readRole(ports.store, id).catch(() => null)
    if (role === null) return
    const say = (clause: string) => ports.progress.note(`${id}: ${clause}`)
    try {
      const found = await standingOfId(ports, { hosts, gone: new Set() }, role, id)
      if (found.suspended) await restoreRole({ id, role, found, deploy }, say, ports)
    } catch (error) {
      const { code, message } = asClawctlError(error)
      if (code === 'CANCELLED') throw error
      // The deploy goes on: it may be the one that repairs this instance.
      say(`its role could not be restored: ${message}`)
    }
  }
  await pMap(ids, restoreOne, { concurrency: AT_ONCE })
}

/**
 * Makes the holder serve again if it lost the role in an interrupted handover, or if EC2 has stopped it: after every other
 * machine has yielded, it is started and named. Else does nothing.
 * @param onStartFailure called if it can't be started; without it that failure is thrown
 */
export async function restoreRole(
  { id, role, found, deploy }: { id: string; role: Role; found: Standing; deploy: string },
  say: (clause: string) => void,
  ports: HostDeployPorts,
  onStartFailure?: (error: ClawctlError) => void,
): Promise<Role> {
  const { holder, leftovers, suspended, stopped } = found
  if (!holder || !(suspended || stopped)) return role
  if (suspended) say(`a handover was interrupted: ${holder.instanceId} gets its role back`)
  else say(`the active machine ${holder.instanceId} is ${holder.state}: EC2 starts it`)
  for (const other of leftovers) {
    const heartbeat = await readHeartbeat(ports.store, id, other.instanceId)
    if (heartbeat?.stage !== 'active') continue
    await waitForYield({ id, from: other, before: heartbeat }, say, ports)
  }
  try {
    await startMachine(holder.instanceId, say, ports)
  } catch (error) {
    const known = asClawctlError(error)
    if (!onStartFailure || known.code === 'CANCELLED') throw known
    onStartFailure(known)
    return role
  }
  return suspended ? writeRole(ports, role, { id, instanceId: holder.instanceId, from: null, deploy }) : role
}

/** Destroys the old machine of a handover, and clears it from active/<id>.json. */
export async function endHandover(context: HostContext, role: Role, predecessor: Host): Promise<void> {
  const { active } = role
  await destroyMachine(context, predecessor)
  if (!active) return
  const next = { id: active.id, instanceId: active.instanceId, from: null, deploy: context.rollout.requestId }
  // A destroyed machine in `from` has no effect, so a failure here does not fail the deploy.
  await writeRole(context.ports, role, next).catch(() => {})
}

/** Whether this deploy would launch the same: a machine keeps the type and the configuration that it was launched with. */
function isAsAsked({ turn, rollout }: HostContext, { ami, instanceType }: Host): boolean {
  const entry = findEntry(rollout.registry, turn.id)
  return ami === turn.image.id && instanceType === entry?.instanceType && rollout.configRevision !== 'newest'
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
  const isWanted = isAsAsked(context, holder)
  if (!verdict.passed) {
    const result = await rollBackHandover(
      context,
      { home: predecessor, candidate: holder, role },
      gateFailure(context, verdict, 'active'),
    )
    // Neither of the two machines is the wanted one: the deploy goes on, whether or not the old one passed.
    if (isWanted || result.ok || !servesAgain(result, predecessor)) return result
    if (result.error.code === 'ROLLBACK_FAILED') await destroyMachine(context, holder)
    return null
  }
  await endHandover(context, role, predecessor)
  return isWanted ? { ok: true, host: hostEnd(holder, 'replaced') } : null
}

/** Whether the old machine has the role again, healthy or not. */
function servesAgain({ host, error }: Extract<HostResult, { ok: false }>, predecessor: Host): boolean {
  if (error.code === 'ROLLED_BACK') return true
  return host.instanceId === predecessor.instanceId && asClawctlError(error.cause).code === 'HEALTH_FAILED'
}
