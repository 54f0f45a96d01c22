import type { Fleet, FleetInstance, Heartbeat, Image } from '../contract/index.js'
import type { Registry } from '../registry/registry.js'
import { BOOT_GRACE_MS, judgeHealth } from './health.js'
import { currentHost, type Host } from './host.js'

export interface FleetFacts {
  registry: Registry
  hosts: readonly Host[]
  latestImage: Image | null
  /** By instance id of the registry; null where there is nowhere to read them, and health is unknown. */
  heartbeats: ReadonlyMap<string, Heartbeat> | null
  now: Date
}

/**
 * Desired beside actual: every registry entry in its order, then what EC2 has beyond it (`orphan`): ids that the
 * registry lacks, and second instances of an id that it has.
 */
export function fleetStatus(facts: FleetFacts): Fleet {
  const { registry, hosts, latestImage } = facts
  const byId = new Map<string, Host[]>()
  for (const host of hosts) byId.set(host.id, [...(byId.get(host.id) ?? []), host])
  const current = new Set<Host>()
  const instances: FleetInstance[] = registry.map((entry) => {
    const host = currentHost(byId.get(entry.id) ?? [], entry.id)
    if (!host || host.state === 'shutting-down') return missing(entry.id)
    current.add(host)
    return describe(entry.id, host, host.state)
  })
  const orphans = hosts
    .filter((host) => host.state !== 'shutting-down' && !current.has(host))
    .map((host) => describe(host.id, host, 'orphan'))
    .sort((a, b) => a.id.localeCompare(b.id) || (a.instanceId ?? '').localeCompare(b.instanceId ?? ''))
  return { latestAmi: latestImage, instances: [...instances, ...orphans] }

  function describe(id: string, host: Host, state: FleetInstance['state']): FleetInstance {
    const heartbeat = facts.heartbeats?.get(id) ?? null
    const health = facts.heartbeats !== null ? judgeHealth({ host, heartbeat, now: facts.now }).health : 'unknown'
    const own = heartbeat?.instanceId === host.instanceId
    return {
      id,
      state,
      instanceId: host.instanceId,
      ami: host.ami,
      amiStatus: latestImage ? (host.ami === latestImage.id ? 'latest' : 'stale') : 'unknown',
      instanceType: host.instanceType,
      publicIp: host.publicIp,
      launchedAt: host.launchedAt,
      health,
      revision: own ? (heartbeat?.revision ?? null) : null,
    }
  }
}

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
    revision: null,
  }
}

/** Ids that EC2 has and the registry lacks: a deploy names them and leaves them running. */
export function orphanIds(registry: Registry, hosts: readonly Host[]): string[] {
  const known = new Set(registry.map((entry) => entry.id))
  const ids = hosts.filter((host) => host.state !== 'shutting-down' && !known.has(host.id)).map((host) => host.id)
  return [...new Set(ids)].sort()
}

/** True when nothing in the picture is about to change by itself: what `--watch` waits for. */
export function isSettled(fleet: Fleet, now: Date): boolean {
  return fleet.instances.every((instance) => {
    if (instance.state === 'pending' || instance.state === 'stopping') return false
    const booting = now.getTime() - Date.parse(instance.launchedAt ?? '') < BOOT_GRACE_MS
    return !(instance.state === 'running' && instance.health === 'unknown' && booting)
  })
}
