import pMap from 'p-map'
import { activeKey } from '../../domain/bundles/manifest.js'
import type { ActiveMachine } from '../../domain/contract/index.js'
import { formatActive, NO_MACHINE, parseActive, type Standing, standingOf } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { type FleetState, machinesInState, type StateResource } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { AT_ONCE, type Compute, type ObjectStore } from '../ports.js'
import type { HostDeployPorts } from './ports.js'

/** EC2 is eventually consistent: one answer without a machine does not mean that it is gone. */
const GONE_AFTER_MS = 60_000
const MAX_POLL_MS = 5_000

/** The content of EC2 and the state at one moment. */
export interface Observation {
  hosts: Host[]
  resources: StateResource[]
  state: FleetState
  /** Machines of the state that no longer exist in EC2. */
  gone: ReadonlySet<string>
}

/**
 * Reads EC2 and the state. A machine of the state that EC2 does not list is looked up by its id: it counts as gone if EC2
 * reports it as terminated, or does not know it for a minute.
 * @param known machines that are known to be gone; new ones are added
 */
export async function observe(
  ports: Pick<HostDeployPorts, 'compute' | 'tofu' | 'clock'>,
  known: Set<string>,
): Promise<Observation> {
  const [hosts, resources] = await Promise.all([ports.compute.describeHosts(), ports.tofu.state()])
  const state = machinesInState(resources)
  const live = new Set(hosts.filter((host) => host.state !== 'shutting-down').map(({ instanceId }) => instanceId))
  const placed = [...state.values()].flat().flatMap(({ instanceId }) => instanceId ?? [])
  const missing = placed.filter((instanceId) => !live.has(instanceId) && !known.has(instanceId))
  const found = await pMap(missing, async (id) => ((await isGone(ports, id)) ? [id] : []), { concurrency: AT_ONCE })
  for (const id of found.flat()) known.add(id)
  // EC2 has a machine that it did not list: the list was out of date.
  const late = missing.length > found.flat().length
  return { hosts: late ? await ports.compute.describeHosts() : hosts, resources, state, gone: new Set(known) }
}

/** EC2's state of a machine, by its id; `unknown` if EC2 does not know it, which does not mean that it is gone. */
export async function stateOf(compute: Compute, instanceId: string): Promise<Host['state'] | 'terminated' | 'unknown'> {
  const host = await compute.describeHost(instanceId)
  return host === null ? 'unknown' : host === 'terminated' ? host : host.state
}

/** Whether EC2 has terminated it, or has not known it for a minute. */
export async function isGone(
  { compute, clock }: Pick<HostDeployPorts, 'compute' | 'clock'>,
  instanceId: string,
): Promise<boolean> {
  const result = await poll<boolean>({ clock, timeoutMs: GONE_AFTER_MS, longestMs: MAX_POLL_MS }, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'unknown') return { wait: `EC2 does not know ${instanceId}` }
    return { done: state === 'terminated' || state === 'shutting-down' }
  })
  return 'done' in result ? result.done : true
}

/** The object in S3 that names the active machine of an id. */
export interface Role {
  active: ActiveMachine | null
  etag: string | null
}

/** @throws ClawctlError ROLE_UNREADABLE if the object is not valid */
export async function readRole(store: ObjectStore, id: string): Promise<Role> {
  const object = await store.get(activeKey(id))
  if (!object) return { active: null, etag: null }
  const active = parseActive(object.text)
  if (active) return { active, etag: object.etag }
  throw new ClawctlError('ROLE_UNREADABLE', `${activeKey(id)} in the bucket does not name a machine.`, {
    hint: 'Find out what wrote it, then delete it: the running machine goes on, and the next deploy writes the object again.',
  })
}

/**
 * Gives the role to a machine, or to none.
 * @param next.from the machine that gets the role back if this deploy is interrupted
 * @throws ClawctlError ROLE_LOST if another deploy wrote meanwhile
 */
export async function writeRole(
  { store, clock }: Pick<HostDeployPorts, 'store' | 'clock'>,
  role: Role,
  next: { id: string; instanceId: string | null; from: string | null; deploy: string },
): Promise<Role> {
  const active: ActiveMachine = {
    schema: 1,
    id: next.id,
    instanceId: next.instanceId ?? NO_MACHINE,
    from: next.from,
    deploy: next.deploy,
    at: clock.now().toISOString(),
  }
  const key = activeKey(next.id)
  const text = formatActive(active)
  const written = await store.putIf(key, text, role.etag)
  const object = await store.get(key)
  // If the answer was lost, the object still has our text.
  if (object?.text === text) return { active, etag: object.etag }
  const why = written ? 'changed it at the same moment' : 'wrote it meanwhile'
  throw new ClawctlError('ROLE_LOST', `Another deploy ${why}: ${key} names another machine now.`, {
    hint: 'See `clawctl fleet status`, then deploy again: that goes on from the current state.',
  })
}

/**
 * The machines of one id by their part in a handover. A machine that has the role or gets it back, but is not in the
 * list, is looked up by its id: EC2's list may be old.
 * @param seen.hosts EC2's list of the fleet
 * @param seen.gone machines known to be gone; those found now are added
 */
export async function standingOfId(
  ports: Pick<HostDeployPorts, 'compute' | 'clock'>,
  seen: { hosts: readonly Host[]; gone: Set<string> },
  { active }: Role,
  id: string,
): Promise<Standing> {
  const hosts = seen.hosts.filter((host) => host.id === id)
  const isListed = (instanceId: string) => hosts.some((host) => host.instanceId === instanceId)
  for (const instanceId of [active?.instanceId, active?.from]) {
    if (!instanceId || isListed(instanceId)) break
    if (instanceId === NO_MACHINE || seen.gone.has(instanceId)) continue
    if (await isGone(ports, instanceId)) {
      seen.gone.add(instanceId)
      continue
    }
    const late = await ports.compute.describeHost(instanceId)
    if (late !== null && late !== 'terminated') hosts.push(late)
    break
  }
  return standingOf(hosts, active)
}

/** Whether the machine has the role of its id and runs. False if EC2 or S3 can't be read. */
export async function serves(
  { compute, store }: Pick<HostDeployPorts, 'compute' | 'store'>,
  { id, instanceId }: Pick<Host, 'id' | 'instanceId'>,
): Promise<boolean> {
  try {
    const [{ active }, state] = await Promise.all([readRole(store, id), stateOf(compute, instanceId)])
    return (active === null || active.instanceId === instanceId) && state === 'running'
  } catch {
    return false
  }
}
