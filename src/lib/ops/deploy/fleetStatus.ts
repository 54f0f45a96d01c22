import pMap from 'p-map'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type ActiveMachine, type Fleet, type Heartbeat, ID_PATTERN } from '../../domain/contract/index.js'
import { describeFleet } from '../../domain/deploy/fleet.js'
import type { Host } from '../../domain/deploy/host.js'
import { INDEX_PREFIX, isLost, parseIndexKey } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { AT_ONCE, type Clock, type Compute, type ObjectStore, type RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { findRun, readRecord } from './deployRecord.js'
import { readFreezes } from './freeze.js'
import { heartbeatAt } from './machineGate.js'
import { readRole } from './observation.js'
import type { RunLookup } from './ports.js'

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

/** Ids with more than one machine. */
function doubleIds(hosts: readonly Host[]): string[] {
  const live = hosts.filter(({ state }) => state !== 'shutting-down').map(({ id }) => id)
  return live.filter((id, index) => live.indexOf(id) !== index)
}

/** The active machine of each id. @throws ClawctlError ROLE_UNREADABLE */
export async function readRoles(store: ObjectStore, ids: readonly string[]): Promise<Map<string, ActiveMachine>> {
  const read = async (id: string) => [id, (await readRole(store, id)).active] as const
  const roles = await pMap(new Set(ids.filter((id) => ID_PATTERN.test(id))), read, { concurrency: AT_ONCE })
  return new Map(roles.flatMap(([id, active]) => (active ? [[id, active]] : [])))
}

/**
 * A running deploy is among the newest records: those that began after it were refused, only planned, or wait for
 * its lock.
 */
const NEWEST = 5
const CHANGED_THE_FLEET: readonly string[] = ['succeeded', 'kept', 'rolled-back']

/**
 * The running deploy, or null. One deploy at a time changes the fleet: a record that still has `running` belongs to a
 * lost run if GitHub calls that run completed, or if GitHub does not answer and a later deploy has changed the fleet.
 */
export async function deployUnderWay({
  store,
  runs,
  clock,
}: {
  store: ObjectStore
  runs: RunLookup | null
  clock: Pick<Clock, 'now'>
}): Promise<Fleet['deploying']> {
  const ids = (await store.list(INDEX_PREFIX, { atMost: NEWEST })).flatMap(({ key }) => parseIndexKey(key) ?? [])
  for (const record of await pMap(ids, ({ requestId }) => readRecord(store, requestId), { concurrency: NEWEST })) {
    if (record === null) continue
    const { requestId, target, status } = record
    const run = status === 'running' ? await findRun(record, runs) : null
    if (status === 'running' && !isLost(record, run, clock.now())) return { requestId, target }
    if (CHANGED_THE_FLEET.includes(status)) return null
  }
  return null
}

/** Null if it could not be read, whatever the reason: `clawctl preflight` shows it. */
const orNull = <T>(work: Promise<T>): Promise<T | null> => work.catch(() => null)

/** A registry that was read and is wrong is an error, which names the entry to correct. */
const registryOrNull = (source: RegistrySource) =>
  readRegistry(source).catch((error: unknown) => {
    if (error instanceof ClawctlError && error.code === 'INVALID_REGISTRY') throw error
    return null
  })

/**
 * The desired and the actual fleet, for the Control API and for CI. `store` is null without a bucket; health is then
 * unknown. If the registry, an object of S3 or the list of images can't be read, the rest is returned and `sources` names
 * what is missing. Rejects without EC2's instances, and with INVALID_REGISTRY.
 */
export async function fleetStatus(ports: {
  registry: RegistrySource
  compute: Pick<Compute, 'describeHosts' | 'fleetImages'>
  store: ObjectStore | null
  /** Null without a credential for GitHub. */
  runs: RunLookup | null
  clock: Clock
}): Promise<Fleet> {
  const { compute, store, runs, clock } = ports
  const describing = compute.describeHosts()
  const [registry, hosts, images, heartbeats, active, deploying, freezes] = await Promise.all([
    registryOrNull(ports.registry),
    describing,
    orNull(compute.fleetImages()),
    store && orNull(readHeartbeats(store, describing)),
    store && orNull(describing.then((hosts) => readRoles(store, doubleIds(hosts)))),
    store && orNull(deployUnderWay({ store, runs, clock }).then((deploying) => ({ deploying }))),
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
