import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type Fleet, type Heartbeat, heartbeatSchema, ID_PATTERN } from '../../domain/contract/index.js'
import { fleetStatus as describeFleet } from '../../domain/deploy/fleet.js'
import type { Host } from '../../domain/deploy/host.js'
import { parseJson } from '../../domain/json.js'
import { AT_ONCE, type Clock, type Compute, type ObjectStore, type RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'

/** Null where the host never wrote one, or wrote something else. */
export async function readHeartbeat(store: ObjectStore, key: string): Promise<Heartbeat | null> {
  const object = await store.get(key)
  const parsed = heartbeatSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/** The heartbeats of these hosts, by id. One listing says which there are. */
export async function readHeartbeats(
  store: ObjectStore,
  hosts: Promise<readonly Host[]> | readonly Host[],
): Promise<Map<string, Heartbeat>> {
  const [listed, present] = await Promise.all([store.list(HEARTBEAT_PREFIX), hosts])
  const there = new Set(listed.map(({ key }) => key))
  const ids = [...new Set(present.map((host) => host.id))].filter((id) => ID_PATTERN.test(id))
  const read = async (id: string) => {
    const key = heartbeatKey(id)
    const heartbeat = there.has(key) ? await readHeartbeat(store, key) : null
    return heartbeat ? [[id, heartbeat] as const] : []
  }
  return new Map((await pMap(ids, read, { concurrency: AT_ONCE })).flat())
}

/** Desired beside actual, the same for the Control API and for CI. `store` is null where no bucket is configured: health is then unknown. */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore | null
  clock: Clock
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, latestImage, heartbeats] = await Promise.all([
    readRegistry(ports.registry),
    describing,
    compute.latestImage(),
    store && readHeartbeats(store, describing),
  ])
  return describeFleet({ registry, hosts, latestImage, heartbeats, now: clock.now() })
}
