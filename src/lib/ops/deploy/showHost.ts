import pMap from 'p-map'
import type { Heartbeat, HostView } from '../../domain/contract/index.js'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import { hostView } from '../../domain/deploy/hostView.js'
import { ClawctlError } from '../../domain/errors.js'
import { nearest } from '../../domain/nearest.js'
import { findEntry } from '../../domain/registry/registry.js'
import type { Clock, Compute, ObjectStore, RegistrySource, Runs } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { listDeploys } from './deploys.js'
import { readHeartbeat } from './machineGate.js'
import { readRole } from './observation.js'

/** Of the last 30 deploys of the fleet, up to 5 of the host are shown. */
const SEARCHED_DEPLOYS = 30
const MAX_DEPLOYS = 5

export interface ShowHostPorts {
  registry: RegistrySource
  compute: Pick<Compute, 'describeHosts' | 'fleetImages' | 'console'>
  /** Null without a bucket: health and deploys are then not known. */
  store: ObjectStore | null
  /** Null without a GitHub credential. */
  runs: Pick<Runs, 'list'> | null
  clock: Clock
}

/**
 * One instance: its machines with boot, health and console, the active machine, its last deploys.
 * @throws ClawctlError UNKNOWN_TARGET
 */
export async function showHost(id: string, ports: ShowHostPorts): Promise<HostView> {
  const { compute, store, clock } = ports
  const [registry, all, images] = await Promise.all([
    readRegistry(ports.registry),
    compute.describeHosts(),
    compute.fleetImages(),
  ])
  const hosts = all.filter((host) => host.id === id && host.state !== 'shutting-down')
  const registered = findEntry(registry, id) !== undefined
  if (!ID_PATTERN.test(id) || (!registered && hosts.length === 0))
    throw unknown(
      id,
      registry.map((entry) => entry.id),
    )
  const [role, heartbeats, consoles, deploys] = await Promise.all([
    store && readRole(store, id).catch(() => null),
    pMap(hosts, async ({ instanceId }) => [instanceId, store && (await readHeartbeat(store, id, instanceId))] as const),
    pMap(hosts, async ({ instanceId }) => [instanceId, await compute.console(instanceId).catch(() => '')] as const),
    deploysOf(id, ports),
  ])
  const known = heartbeats.flatMap(([key, heartbeat]): [string, Heartbeat][] => (heartbeat ? [[key, heartbeat]] : []))
  return hostView({
    ...{ id, registered, hosts, images, deploys, now: clock.now() },
    active: role?.active ?? null,
    heartbeats: new Map(known),
    consoles: new Map(consoles),
  })
}

/** Null if they can't be read: the machine is shown all the same. Only records name the hosts of a deploy. */
async function deploysOf(id: string, ports: ShowHostPorts) {
  const history = await listDeploys(ports, { limit: SEARCHED_DEPLOYS }).catch(() => null)
  if (history?.sources.records !== 'read') return null
  return history.deploys.filter(({ hosts }) => hosts.some((host) => host.id === id)).slice(0, MAX_DEPLOYS)
}

function unknown(id: string, ids: readonly string[]): ClawctlError {
  const near = nearest(id, ids)
  return new ClawctlError(
    'UNKNOWN_TARGET',
    `There is no instance ${JSON.stringify(id.slice(0, 63))}, neither in the registry nor in EC2.`,
    {
      hint: near ? `Did you mean ${near}?` : 'See `clawctl fleet status` for the ids.',
    },
  )
}
