import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type Fleet, type Heartbeat, heartbeatSchema, ID_PATTERN } from '../../domain/contract/index.js'
import { fleetStatus as describeFleet } from '../../domain/deploy/fleet.js'
import { HEARTBEAT_STALE_MS } from '../../domain/deploy/health.js'
import type { Host } from '../../domain/deploy/host.js'
import { parseJson } from '../../domain/json.js'
import { AT_ONCE, type Clock, type Compute, type ObjectInfo, type ObjectStore, type RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'

/** What is remembered of heartbeats from one call to the next, and how many of them one call may read. */
export interface HeartbeatMemory {
  /** By key, with the entity tag that they were read under: what did not change is not read again. */
  readonly known: Map<string, { etag: string | undefined; heartbeat: Heartbeat | null; readAt: number }>
  readonly atMost: number
}

/** Null where the host never wrote one, or wrote something else. */
export async function readHeartbeat(store: ObjectStore, key: string): Promise<Heartbeat | null> {
  const object = await store.get(key)
  const parsed = heartbeatSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/**
 * The heartbeats of these hosts, by id, and whose were left unread. One listing says which there are and which have
 * changed. Of those, the ones that were not looked at for the longest are read first; for the others, what the same
 * instance said within the last five minutes still holds.
 */
export async function readHeartbeats(
  store: ObjectStore,
  hosts: Promise<readonly Host[]> | readonly Host[],
  {
    clock,
    memory = { known: new Map(), atMost: Number.POSITIVE_INFINITY },
  }: { clock: Clock; memory?: HeartbeatMemory },
): Promise<{ heartbeats: Map<string, Heartbeat>; unread: Set<string> }> {
  const { known, atMost } = memory
  const [listed, present] = await Promise.all([store.list(HEARTBEAT_PREFIX), hosts])
  const objects = new Map(listed.map((object) => [object.key, object]))
  for (const key of known.keys()) if (!objects.has(key)) known.delete(key)
  const ids = [...new Set(present.map((host) => host.id))].filter((id) => ID_PATTERN.test(id))
  const there = ids.flatMap((id) => objects.get(heartbeatKey(id)) ?? [])
  const changed = there.filter(({ key, etag }) => etag === undefined || known.get(key)?.etag !== etag)
  const readAt = ({ key }: ObjectInfo) => known.get(key)?.readAt ?? 0
  const inTurn = changed.sort((a, b) => readAt(a) - readAt(b))
  const now = clock.now().getTime()
  const read = async ({ key, etag }: ObjectInfo) => {
    known.set(key, { etag, heartbeat: await readHeartbeat(store, key), readAt: now })
  }
  await pMap(inTurn.slice(0, atMost), read, { concurrency: AT_ONCE })

  const heartbeats = new Map<string, Heartbeat>()
  const unread = new Set<string>()
  const left = new Set(inTurn.slice(atMost).map(({ key }) => key))
  for (const { id, instanceId } of present) {
    if (!ID_PATTERN.test(id)) continue
    const key = heartbeatKey(id)
    const heartbeat = known.get(key)?.heartbeat
    const holds =
      !left.has(key) || (heartbeat?.instanceId === instanceId && now - Date.parse(heartbeat.at) < HEARTBEAT_STALE_MS)
    if (!holds) unread.add(id)
    else if (heartbeat && objects.has(key)) heartbeats.set(id, heartbeat)
  }
  return { heartbeats, unread }
}

/** Desired beside actual, the same for the Control API and for CI. `store` is null where no bucket is configured: health is then unknown. */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore | null
  clock: Clock
  heartbeatMemory?: HeartbeatMemory
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, latestImage, read] = await Promise.all([
    readRegistry(ports.registry),
    describing,
    compute.latestImage(),
    store && readHeartbeats(store, describing, { clock, memory: ports.heartbeatMemory }),
  ])
  return describeFleet({ registry, hosts, latestImage, heartbeats: null, ...read, now: clock.now() })
}
