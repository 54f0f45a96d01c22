import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type ActiveMachine, type Fleet, type Heartbeat, ID_PATTERN } from '../../domain/contract/index.js'
import { describeFleet } from '../../domain/deploy/fleet.js'
import type { Host } from '../../domain/deploy/host.js'
import { deployOfRecord, INDEX_PREFIX, parseIndexKey } from '../../domain/deploy/run.js'
import { AT_ONCE, type Clock, type Compute, type ObjectStore, type RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { readRecord } from './deployRecord.js'
import { readFreezes } from './freeze.js'
import { heartbeatAt } from './machineGate.js'
import { readRole } from './observation.js'

/** The heartbeats of these machines, by EC2 instance id. One listing finds the keys that exist. */
export async function readHeartbeats(
  store: ObjectStore,
  hosts: Promise<readonly Host[]> | readonly Host[],
): Promise<Map<string, Heartbeat>> {
  const [listed, present] = await Promise.all([store.list(HEARTBEAT_PREFIX), hosts])
  const there = new Set(listed.map(({ key }) => key))
  const machines = present.filter(({ id }) => ID_PATTERN.test(id))
  const read = async ({ id, instanceId }: Host) => {
    const key = heartbeatKey(id, instanceId)
    const heartbeat = there.has(key) ? await heartbeatAt(store, key) : null
    return heartbeat ? [[instanceId, heartbeat] as const] : []
  }
  return new Map((await pMap(machines, read, { concurrency: AT_ONCE })).flat())
}

/** The active machine of every id that has more than one machine. */
async function readRoles(store: ObjectStore, hosts: readonly Host[]): Promise<Map<string, ActiveMachine>> {
  const live = hosts.filter(({ id, state }) => ID_PATTERN.test(id) && state !== 'shutting-down').map(({ id }) => id)
  const double = [...new Set(live.filter((id, index) => live.indexOf(id) !== index))]
  const roles = await pMap(double, async (id) => [id, (await readRole(store, id)).active] as const, {
    concurrency: AT_ONCE,
  })
  return new Map(roles.flatMap(([id, active]) => (active ? [[id, active]] : [])))
}

/** The running deploy, or null. Only one runs at a time: an older record that still has `running` belongs to a lost run. */
export async function deployUnderWay(store: ObjectStore, now: Date): Promise<Fleet['deploying']> {
  const [newest] = await store.list(INDEX_PREFIX, { atMost: 1 })
  const requestId = newest && parseIndexKey(newest.key)?.requestId
  const record = requestId === undefined ? null : await readRecord(store, requestId)
  if (record === null || deployOfRecord(record, now).status !== 'running') return null
  return { requestId: record.requestId, target: record.target }
}

/** Null if it could not be read, whatever the reason: `clawctl preflight` shows it. */
const orNull = <T>(work: Promise<T>): Promise<T | null> => work.catch(() => null)

/**
 * The desired and the actual fleet, for the Control API and for CI. `store` is null without a bucket; health is then
 * unknown. If the registry, an object of S3 or the list of images can't be read, the rest is returned and `sources` names
 * what is missing. Rejects without EC2's instances.
 */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Pick<Compute, 'describeHosts' | 'fleetImages'>
  store: ObjectStore | null
  clock: Clock
}): Promise<Fleet> {
  const { compute, store, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, images, heartbeats, active, deploying, freezes] = await Promise.all([
    orNull(readRegistry(ports.registry)),
    describing,
    orNull(compute.fleetImages()),
    store && orNull(readHeartbeats(store, describing)),
    store && orNull(describing.then((hosts) => readRoles(store, hosts))),
    store && orNull(deployUnderWay(store, clock.now()).then((deploying) => ({ deploying }))),
    store && orNull(readFreezes({ store, clock })),
  ])
  return describeFleet({
    registry,
    hosts,
    images,
    heartbeats,
    active,
    deploying,
    freezes,
    now: clock.now(),
  })
}
