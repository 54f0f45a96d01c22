import type { Slot } from './slots.js'
/** EC2's states of an instance that is not terminated: it may still use its image, its disk and its address. */
export const LIVE_STATES = ['pending', 'running', 'shutting-down', 'stopping', 'stopped'] as const

/** An EC2 instance of the fleet that is not terminated. */
export interface Host {
  /** Tag `clawdinator:id`, else `Name`, else the EC2 instance id. */
  id: string
  instanceId: string
  state: (typeof LIVE_STATES)[number]
  ami: string
  instanceType: string
  publicIp: string | null
  launchedAt: string
  /** The result of EC2's two status checks. */
  checks: 'ok' | 'initializing' | 'impaired' | 'unknown'
  /** Tag `clawdinator:slot`; null on a machine from before slots existed. */
  slot: Slot | null
  /** The deploy that launched it; null without that tag. */
  requestId: string | null
  /** At its launch; null without that tag. */
  bootstrapPrefix: string | null
}

const STATE_RANK: Record<Host['state'], number> = {
  running: 0,
  pending: 1,
  stopping: 2,
  stopped: 3,
  'shutting-down': 4,
}

/** Of several EC2 instances with one id, the one that serves: running ones first, then the youngest. */
export function currentHost(hosts: readonly Host[], id: string): Host | undefined {
  return hosts
    .filter((host) => host.id === id && host.state !== 'shutting-down')
    .sort((a, b) => STATE_RANK[a.state] - STATE_RANK[b.state] || b.launchedAt.localeCompare(a.launchedAt))[0]
}
