import { heartbeatKey } from '../domain/bundle.js'
import { type Fleet, type Heartbeat, heartbeatSchema, ID_PATTERN } from '../domain/contract.js'
import { fleetStatus as describeFleet } from '../domain/fleet.js'
import { parseJson } from '../domain/json.js'
import type { Clock, Compute, ObjectStore, RegistrySource } from './ports.js'
import { readRegistry } from './readRegistry.js'

/** Null where the host never wrote one, or wrote something else. */
export async function readHeartbeat(store: ObjectStore, id: string): Promise<Heartbeat | null> {
  const object = await store.get(heartbeatKey(id))
  const parsed = heartbeatSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/** Desired beside actual, the same for the Control API and for CI. `store` is null where no bucket is configured: health is then unknown. */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore | null
  clock: Clock
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const [registry, hosts, latestImage] = await Promise.all([
    readRegistry(ports.registry),
    compute.describeHosts(),
    compute.latestImage(),
  ])
  const heartbeats = new Map<string, Heartbeat>()
  if (store) {
    await Promise.all(
      [...new Set(hosts.map((host) => host.id).filter((id) => ID_PATTERN.test(id)))].map(async (id) => {
        const heartbeat = await readHeartbeat(store, id)
        if (heartbeat) heartbeats.set(id, heartbeat)
      }),
    )
  }
  return describeFleet({ registry, hosts, latestImage, heartbeats: store && heartbeats, now: clock.now() })
}
