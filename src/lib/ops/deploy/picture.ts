import pMap from 'p-map'
import { activeKey } from '../../domain/bundles/manifest.js'
import type { ActiveMachine } from '../../domain/contract/index.js'
import { formatActive, NOBODY, parseActive, type Standing, standingOf } from '../../domain/deploy/active.js'
import type { Host } from '../../domain/deploy/host.js'
import { type FleetState, machinesInState, type StateResource } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import { AT_ONCE, type Compute, type ObjectStore } from '../ports.js'
import type { HostDeployPorts } from './ports.js'

/** EC2 is eventually consistent: one answer without a machine proves nothing. */
const GONE_AFTER_MS = 60_000
const LONGEST_POLL_MS = 5_000

/** What EC2 and the state say at one moment. */
export interface Picture {
  hosts: Host[]
  resources: StateResource[]
  state: FleetState
  /** Machines of the state that EC2 does not have any more. */
  gone: ReadonlySet<string>
}

/**
 * Looks at EC2 and at the state. A machine of the state that EC2 does not list is asked for by its id, for at least a
 * minute, before it is called gone; one that EC2 calls terminated is gone at once.
 * @param known found to be gone before
 */
export async function takePicture(
  ports: Pick<HostDeployPorts, 'compute' | 'tofu' | 'clock'>,
  known: Set<string>,
): Promise<Picture> {
  const [hosts, resources] = await Promise.all([ports.compute.describeHosts(), ports.tofu.state()])
  const state = machinesInState(resources)
  const live = new Set(hosts.filter((host) => host.state !== 'shutting-down').map(({ instanceId }) => instanceId))
  const placed = [...state.values()].flat().flatMap(({ instanceId }) => instanceId ?? [])
  const missing = placed.filter((instanceId) => !live.has(instanceId) && !known.has(instanceId))
  const found = await pMap(missing, async (id) => ((await isGone(ports, id)) ? [id] : []), { concurrency: AT_ONCE })
  for (const id of found.flat()) known.add(id)
  // One that EC2 did not list and has: the list is behind.
  const late = missing.length > found.flat().length
  return { hosts: late ? await ports.compute.describeHosts() : hosts, resources, state, gone: new Set(known) }
}

/** EC2's state of a machine, asked by its id; `unknown` where EC2 does not know it, which proves nothing. */
export async function stateOf(compute: Compute, instanceId: string): Promise<Host['state'] | 'terminated' | 'unknown'> {
  const host = await compute.describeHost(instanceId)
  return host === null ? 'unknown' : host === 'terminated' ? host : host.state
}

/** True where EC2 has terminated it, or has not known it for a minute. */
export async function isGone(
  { compute, clock }: Pick<HostDeployPorts, 'compute' | 'clock'>,
  instanceId: string,
): Promise<boolean> {
  const result = await poll<boolean>({ clock, timeoutMs: GONE_AFTER_MS, longestMs: LONGEST_POLL_MS }, async () => {
    const state = await stateOf(compute, instanceId)
    if (state === 'unknown') return { wait: `EC2 does not know ${instanceId}` }
    return { done: state === 'terminated' || state === 'shutting-down' }
  })
  return 'done' in result ? result.done : true
}

/** Who may act for an id, as S3 has it. */
export interface Role {
  active: ActiveMachine | null
  etag: string | null
}

/** @throws ClawctlError NOT_IN_STATE for an object that is none: nobody knows then who may act */
export async function readRole(store: ObjectStore, id: string): Promise<Role> {
  const object = await store.get(activeKey(id))
  if (!object) return { active: null, etag: null }
  const active = parseActive(object.text)
  if (active) return { active, etag: object.etag }
  throw new ClawctlError('ROLE_UNREADABLE', `${activeKey(id)} in the bucket does not name a machine.`, {
    hint: 'Look at what wrote it; without the object the machine that runs goes on, and a deploy writes it anew.',
  })
}

/**
 * Gives the role to a machine, or to nobody.
 * @param from the machine that had it and gets it back should this one be lost
 * @throws ClawctlError ROLE_LOST where another deploy wrote meanwhile
 */
export async function writeRole(
  { store, clock }: Pick<HostDeployPorts, 'store' | 'clock'>,
  role: Role,
  next: { id: string; instanceId: string | null; from: string | null; deploy: string },
): Promise<Role> {
  const active: ActiveMachine = {
    schema: 1,
    id: next.id,
    instanceId: next.instanceId ?? NOBODY,
    from: next.from,
    deploy: next.deploy,
    at: clock.now().toISOString(),
  }
  const key = activeKey(next.id)
  const text = formatActive(active)
  const written = await store.putIf(key, text, role.etag)
  const object = await store.get(key)
  // The write may have arrived and its answer not: then what stands there is ours.
  if (object?.text === text) return { active, etag: object.etag }
  const why = written ? 'changed it at the same moment' : 'wrote it meanwhile'
  throw new ClawctlError('ROLE_LOST', `Another deploy ${why}: ${key} names another machine now.`, {
    hint: 'See `clawctl fleet status`, then deploy again: it goes on from what stands.',
  })
}

export const standing = ({ hosts }: Pick<Picture, 'hosts'>, role: Role, id: string): Standing =>
  standingOf(
    hosts.filter((host) => host.id === id),
    role.active,
  )
