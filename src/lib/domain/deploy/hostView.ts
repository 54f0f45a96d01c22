import type { ActiveMachine, Deploy, Heartbeat, HostMachine, HostView } from '../contract/index.js'
import { standingOf } from './active.js'
import { consoleTail } from './console.js'
import { judgeHealth } from './health.js'
import type { Host } from './host.js'
import type { FleetImage } from './image.js'

export interface HostFacts {
  id: string
  registered: boolean
  /** Machines of this id. */
  hosts: readonly Host[]
  images: readonly FleetImage[]
  active: ActiveMachine | null
  /** By EC2 instance id. */
  heartbeats: ReadonlyMap<string, Heartbeat>
  /** By EC2 instance id. */
  consoles: ReadonlyMap<string, string>
  /** Newest first; null if they could not be read. */
  deploys: readonly Deploy[] | null
  now: Date
}

const ROLES: HostMachine['role'][] = ['serving', 'candidate', 'predecessor', 'other']

/** One instance: its machines, the active machine, and its last deploys. */
export function hostView(facts: HostFacts): HostView {
  const { id, active, hosts, deploys } = facts
  const standing = standingOf(hosts, active)
  const roleOf = (host: Host): HostMachine['role'] => {
    if (host === standing.holder) return 'serving'
    if (host === standing.predecessor) return 'predecessor'
    return active !== null && standing.leftovers.includes(host) ? 'candidate' : 'other'
  }
  const machines = hosts.map((host) => machineOf(host, roleOf(host), facts))
  return {
    id,
    registered: facts.registered,
    active: active && { instanceId: active.instanceId, deploy: active.deploy ?? null, at: active.at },
    machines: machines.sort((a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role)),
    deploys: deploys?.flatMap((deploy) => deployOfHost(deploy, id)) ?? null,
  }
}

function machineOf(host: Host, role: HostMachine['role'], facts: HostFacts): HostMachine {
  const heartbeat = facts.heartbeats.get(host.instanceId) ?? null
  const image = facts.images.find(({ id }) => id === host.ami)
  const gate = role === 'candidate' && heartbeat?.stage !== 'active' ? 'standby' : 'active'
  const { health, reason } = judgeHealth({ host, heartbeat, now: facts.now }, gate)
  return {
    instanceId: host.instanceId,
    slot: host.slot,
    role,
    state: host.state,
    instanceType: host.instanceType,
    publicIp: host.publicIp,
    launchedAt: host.launchedAt,
    requestId: host.requestId,
    ami: {
      id: host.ami,
      name: image?.name ?? null,
      createdAt: image?.createdAt ?? null,
      failedIn: image?.failedIn ?? null,
    },
    health,
    reason,
    heartbeatAt: heartbeat?.at ?? null,
    stage: heartbeat?.stage ?? null,
    stages: heartbeat?.stages ?? [],
    failure: heartbeat?.failure ?? null,
    gateway: heartbeat?.gateway ?? null,
    revision: heartbeat?.revision ?? null,
    imageRevision: heartbeat?.imageRevision ?? null,
    bundleGeneration: heartbeat?.bundle?.generation ?? null,
    selfUpdate: heartbeat?.selfUpdate ?? null,
    console: consoleTail(facts.consoles.get(host.instanceId) ?? ''),
  }
}

function deployOfHost({ requestId, status, createdAt, hosts }: Deploy, id: string): NonNullable<HostView['deploys']> {
  const own = hosts.find((host) => host.id === id)
  if (!own) return []
  const { outcome, ami, reason = null, evidence = null } = own
  return [{ requestId, status, outcome, ami, createdAt, reason, evidence }]
}
