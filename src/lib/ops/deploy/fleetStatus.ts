import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type ActiveMachine, type Fleet, type Heartbeat, ID_PATTERN } from '../../domain/contract/index.js'
import { fleetStatus as describeFleet } from '../../domain/deploy/fleet.js'
import { HEARTBEAT_STALE_MS } from '../../domain/deploy/health.js'
import type { Host } from '../../domain/deploy/host.js'
import { deployOfRecord, INDEX_PREFIX, parseIndexKey } from '../../domain/deploy/run.js'
import { AT_ONCE, type Clock, type Compute, type ObjectInfo, type ObjectStore, type RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { readRecord } from './deployRecord.js'
import { heartbeatAt } from './machineGate.js'
import { readRole } from './picture.js'

/** What is remembered of heartbeats from one call to the next, and how many of them one call may read. */
export interface HeartbeatMemory {
  /** By key, with the entity tag that they were read under: what did not change is not read again. */
  readonly known: Map<string, { etag: string | undefined; heartbeat: Heartbeat | null; readAt: number }>
  readonly atMost: number
}

/**
 * The heartbeats of these machines, by EC2 instance id, and whose were left unread. One listing says which there are and
 * which have changed. Of those, the ones that were not looked at for the longest are read first; for the others, what
 * the same machine said within the last five minutes still holds.
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
  const machines = present.filter(({ id }) => ID_PATTERN.test(id))
  const there = machines.flatMap(({ id, instanceId }) => objects.get(heartbeatKey(id, instanceId)) ?? [])
  const changed = there.filter(({ key, etag }) => etag === undefined || known.get(key)?.etag !== etag)
  const readAt = ({ key }: ObjectInfo) => known.get(key)?.readAt ?? 0
  const inTurn = changed.sort((a, b) => readAt(a) - readAt(b))
  const now = clock.now().getTime()
  const read = async ({ key, etag }: ObjectInfo) => {
    known.set(key, { etag, heartbeat: await heartbeatAt(store, key), readAt: now })
  }
  await pMap(inTurn.slice(0, atMost), read, { concurrency: AT_ONCE })

  const heartbeats = new Map<string, Heartbeat>()
  const unread = new Set<string>()
  const left = new Set(inTurn.slice(atMost).map(({ key }) => key))
  for (const { id, instanceId } of machines) {
    const key = heartbeatKey(id, instanceId)
    const heartbeat = known.get(key)?.heartbeat
    const holds = !left.has(key) || (heartbeat != null && now - Date.parse(heartbeat.at) < HEARTBEAT_STALE_MS)
    if (!holds) unread.add(instanceId)
    else if (heartbeat && objects.has(key)) heartbeats.set(instanceId, heartbeat)
  }
  return { heartbeats, unread }
}

/** Who may act, of every id that has more than one machine. */
async function readRoles(store: ObjectStore, hosts: readonly Host[]): Promise<Map<string, ActiveMachine>> {
  const live = hosts.filter(({ id, state }) => ID_PATTERN.test(id) && state !== 'shutting-down').map(({ id }) => id)
  const double = [...new Set(live.filter((id, index) => live.indexOf(id) !== index))]
  const roles = await pMap(double, async (id) => [id, (await readRole(store, id)).active] as const, {
    concurrency: AT_ONCE,
  })
  return new Map(roles.flatMap(([id, active]) => (active ? [[id, active]] : [])))
}

/** The newest deploys: the one that is under way is among them. */
const RECENT_DEPLOYS = 3

async function deployUnderWay(store: ObjectStore, now: Date): Promise<Fleet['deploying']> {
  const newest = await store.list(INDEX_PREFIX, { atMost: RECENT_DEPLOYS })
  const ids = newest.flatMap(({ key }) => parseIndexKey(key)?.requestId ?? [])
  const records = await pMap(ids, (requestId) => readRecord(store, requestId))
  const running = records.find((record) => record !== null && deployOfRecord(record, now).status === 'running')
  return running ? { requestId: running.requestId, target: running.target } : null
}

/** Desired beside actual, the same for the Control API and for CI. `store` is null where no bucket is configured: health is then unknown. */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Pick<Compute, 'describeHosts' | 'fleetImages'>
  store: ObjectStore | null
  clock: Clock
  heartbeatMemory?: HeartbeatMemory
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, images, read, active, deploying] = await Promise.all([
    readRegistry(ports.registry),
    describing,
    compute.fleetImages(),
    store && readHeartbeats(store, describing, { clock, memory: ports.heartbeatMemory }),
    store && describing.then((hosts) => readRoles(store, hosts)),
    store && deployUnderWay(store, clock.now()),
  ])
  const now = clock.now()
  return describeFleet({
    registry,
    hosts,
    images,
    heartbeats: null,
    ...read,
    active: active ?? new Map(),
    deploying,
    now,
  })
}
