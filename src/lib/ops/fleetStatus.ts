import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../domain/bundle.js'
import { type Fleet, type Heartbeat, heartbeatSchema, ID_PATTERN } from '../domain/contract.js'
import { fleetStatus as describeFleet } from '../domain/fleet.js'
import type { Host } from '../domain/host.js'
import { parseJson } from '../domain/json.js'
import { AT_ONCE, type Clock, type Compute, type ObjectInfo, type ObjectStore, type RegistrySource } from './ports.js'
import { readRegistry } from './readRegistry.js'

/** Heartbeats by key, with the entity tag that they were read under: what did not change is not read again. */
export type KnownHeartbeats = Map<string, { etag: string; heartbeat: Heartbeat | null }>

/** Null where the host never wrote one, or wrote something else. */
export async function readHeartbeat(store: ObjectStore, id: string): Promise<Heartbeat | null> {
  const object = await store.get(heartbeatKey(id))
  const parsed = heartbeatSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/**
 * The heartbeats of these hosts, by id. One listing says which there are and which have changed, so that a fleet of a
 * thousand costs a thousand reads at most once.
 */
export async function readHeartbeats(
  store: ObjectStore,
  hosts: Promise<readonly Host[]> | readonly Host[],
  known: KnownHeartbeats = new Map(),
): Promise<Map<string, Heartbeat>> {
  const [listed, present] = await Promise.all([store.list(HEARTBEAT_PREFIX), hosts])
  const objects = new Map(listed.map((object) => [object.key, object]))
  for (const key of known.keys()) if (!objects.has(key)) known.delete(key)
  const ids = [...new Set(present.map((host) => host.id))].filter((id) => ID_PATTERN.test(id))
  const heartbeats = new Map<string, Heartbeat>()
  const read = async (id: string) => {
    const heartbeat = await readListed(store, id, objects.get(heartbeatKey(id)), known)
    if (heartbeat) heartbeats.set(id, heartbeat)
  }
  await pMap(ids, read, { concurrency: AT_ONCE })
  return heartbeats
}

async function readListed(
  store: ObjectStore,
  id: string,
  listed: ObjectInfo | undefined,
  known: KnownHeartbeats,
): Promise<Heartbeat | null> {
  if (!listed) return null
  const { key, etag } = listed
  const before = known.get(key)
  if (before && before.etag === etag) return before.heartbeat
  const heartbeat = await readHeartbeat(store, id)
  if (etag !== undefined) known.set(key, { etag, heartbeat })
  return heartbeat
}

/** Desired beside actual, the same for the Control API and for CI. `store` is null where no bucket is configured: health is then unknown. */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore | null
  clock: Clock
  /** Where heartbeats are remembered from one call to the next. */
  knownHeartbeats?: KnownHeartbeats
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, latestImage, heartbeats] = await Promise.all([
    readRegistry(ports.registry),
    describing,
    compute.latestImage(),
    store && readHeartbeats(store, describing, ports.knownHeartbeats),
  ])
  return describeFleet({ registry, hosts, latestImage, heartbeats, now: clock.now() })
}
