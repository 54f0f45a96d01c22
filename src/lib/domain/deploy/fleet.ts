import type { ActiveMachine, Fleet, FleetInstance, Freeze, Heartbeat, Source } from '../contract/index.js'
import type { Registry } from '../registry/registry.js'
import { standingOf } from './active.js'
import { BOOT_GRACE_MS, judgeHealth } from './health.js'
import type { Host } from './host.js'
import { architectureOf, type FleetImage, latestOf } from './image.js'

export interface FleetFacts {
  /** Null: the source could not be read. */
  registry: Registry | null
  hosts: readonly Host[]
  images: readonly FleetImage[] | null
  /** By EC2 instance id. */
  heartbeats: ReadonlyMap<string, Heartbeat> | null
  /** The active machine, by id; only for ids with more than one machine. */
  active?: ReadonlyMap<string, ActiveMachine> | null
  deploying?: { deploying: Fleet['deploying'] } | null
  freezes?: readonly Freeze[] | null
  now: Date
}

/**
 * The desired and the actual fleet: the registry's entries in their order, then orphans: machines of ids that the registry
 * does not have, and machines that are neither active nor part of a handover.
 */
export function describeFleet(facts: FleetFacts): Fleet {
  const { hosts } = facts
  const images = facts.images ?? []
  const byId = new Map<string, Host[]>()
  for (const host of hosts) byId.set(host.id, [...(byId.get(host.id) ?? []), host])
  const shown = new Set<Host>()
  // Without the registry, the ids of the machines' tags.
  const ids = facts.registry?.map(({ id }) => id) ?? liveIds(hosts)
  const instances: FleetInstance[] = ids.map((id) => {
    const standing = standingOf(byId.get(id) ?? [], facts.active?.get(id) ?? null)
    // If the old machine is gone, the candidate is the host's only machine.
    const host = standing.holder ?? standing.leftovers[0]
    if (!host) return missing(id)
    const isPartOfADeploy = facts.active?.has(id) === true
    const beside =
      standing.predecessor ?? (isPartOfADeploy ? standing.leftovers.find((one) => one !== host) : undefined)
    shown.add(host)
    if (beside) shown.add(beside)
    return { ...describe(id, host, stateOf(host)), beside: beside ? besides(beside, standing.predecessor) : null }
  })
  const orphans = hosts
    .filter((host) => host.state !== 'shutting-down' && !shown.has(host))
    .map((host) => describe(host.id, host, 'orphan'))
    .sort((a, b) => a.id.localeCompare(b.id) || (a.instanceId ?? '').localeCompare(b.instanceId ?? ''))
  const newest = latestOf(images)
  return {
    latestAmi: brief(latestOf(images, { good: true })),
    failedAmi: newest?.failedIn ? { ...brief(newest), requestId: newest.failedIn } : null,
    deploying: facts.deploying?.deploying ?? null,
    instances: [...instances, ...orphans],
    sources: {
      registry: source(facts.registry),
      images: source(facts.images),
      heartbeats: source(facts.heartbeats),
      active: source(facts.active),
      deploys: source(facts.deploying),
      freezes: source(facts.freezes),
    },
    ...(facts.freezes && facts.freezes.length > 0 ? { freezes: [...facts.freezes] } : {}),
  }

  function judge(host: Host, role: 'active' | 'standby') {
    if (facts.heartbeats === null) return { health: 'unknown' as const, reason: null, heartbeat: null }
    const heartbeat = facts.heartbeats.get(host.instanceId) ?? null
    return { ...judgeHealth({ host, heartbeat, now: facts.now }, role), heartbeat }
  }

  function describe(id: string, host: Host, state: FleetInstance['state']): FleetInstance {
    const { health, reason, heartbeat } = judge(host, 'active')
    return {
      id,
      state,
      instanceId: host.instanceId,
      ami: host.ami,
      amiStatus: amiStatus(host),
      instanceType: host.instanceType,
      publicIp: host.publicIp,
      launchedAt: host.launchedAt,
      health,
      reason,
      stage: heartbeat?.stage ?? null,
      revision: heartbeat?.revision ?? null,
      beside: null,
    }
  }

  function besides(host: Host, predecessor: Host | null): FleetInstance['beside'] {
    const role = host === predecessor ? 'predecessor' : 'candidate'
    const { instanceId, ami } = host
    if (role === 'predecessor') {
      const stage = facts.heartbeats?.get(instanceId)?.stage ?? null
      return { role, instanceId, ami, health: 'unknown', reason: 'it waits until the candidate has passed', stage }
    }
    const { health, reason, heartbeat } = judge(host, heartbeatStage(host) === 'active' ? 'active' : 'standby')
    return {
      role,
      instanceId,
      ami,
      health,
      reason: reason ?? 'its state is unknown',
      stage: heartbeat?.stage ?? null,
    }
  }

  function heartbeatStage({ instanceId }: Host) {
    return facts.heartbeats?.get(instanceId)?.stage
  }

  function amiStatus({ ami, instanceType }: Host): FleetInstance['amiStatus'] {
    if (images.find((image) => image.id === ami)?.failedIn) return 'failed'
    const latest = latestOf(images, { architecture: architectureOf(instanceType), good: true })
    return latest ? (ami === latest.id ? 'latest' : 'stale') : 'unknown'
  }
}

const source = (facts: unknown): Source => (facts === null ? 'unavailable' : 'read')

const liveIds = (hosts: readonly Host[]) =>
  [...new Set(hosts.filter(({ state }) => state !== 'shutting-down').map(({ id }) => id))].sort()

function brief(image: FleetImage): Pick<FleetImage, 'id' | 'name' | 'createdAt'>
function brief(image: FleetImage | null): Fleet['latestAmi']
function brief(image: FleetImage | null): Fleet['latestAmi'] {
  return image && { id: image.id, name: image.name, createdAt: image.createdAt }
}

/** Machines that are shutting down were filtered before. */
const stateOf = ({ state }: Host): FleetInstance['state'] => (state === 'shutting-down' ? 'missing' : state)

function missing(id: string): FleetInstance {
  return {
    id,
    state: 'missing',
    instanceId: null,
    ami: null,
    amiStatus: 'unknown',
    instanceType: null,
    publicIp: null,
    launchedAt: null,
    health: 'unknown',
    reason: null,
    stage: null,
    revision: null,
    beside: null,
  }
}

/** Ids that EC2 has but the registry does not: a deploy reports them and does not change them. */
export function orphanIds(registry: Registry, hosts: readonly Host[]): string[] {
  const known = new Set(registry.map((entry) => entry.id))
  return liveIds(hosts).filter((id) => !known.has(id))
}

/** Whether no instance is in transition: `--watch` waits for that. */
export function isSettled(fleet: Fleet, now: Date): boolean {
  return fleet.instances.every((instance) => {
    if (instance.state === 'pending' || instance.state === 'stopping') return false
    const booting = now.getTime() - Date.parse(instance.launchedAt ?? '') < BOOT_GRACE_MS
    return !(instance.state === 'running' && instance.health === 'unknown' && booting)
  })
}
