import type { Heartbeat } from '../contract/index.js'
import type { Host } from './host.js'

/** The host's timer writes each minute; five missed beats are not a delay any more. */
export const HEARTBEAT_STALE_MS = 5 * 60_000
/** First boot fetches the bundle and switches configuration; until then silence says nothing. */
export const BOOT_GRACE_MS = 15 * 60_000
/** systemd states that the gateway does not leave by itself within a boot. */
const FAILED_SERVICE = new Set(['failed'])

export interface HealthVerdict {
  health: 'healthy' | 'unhealthy' | 'unknown'
  /** True where waiting longer can't help. */
  terminal: boolean
  /** One clause for people: "waiting for the first heartbeat". */
  reason: string
}

/**
 * A host is healthy when EC2 says running, both status checks pass, and its own heartbeat says that this instance,
 * booted from this AMI, has its gateway active.
 */
export function judgeHealth(facts: { host: Host; heartbeat: Heartbeat | null; now: Date }): HealthVerdict {
  const { host, heartbeat, now } = facts
  const verdict = (health: HealthVerdict['health'], reason: string, terminal = false) => ({ health, reason, terminal })
  if (host.state === 'pending') return verdict('unknown', 'the instance is starting')
  if (host.state !== 'running') return verdict('unhealthy', `EC2 says ${host.state}`, true)
  if (host.checks === 'impaired') return verdict('unhealthy', "EC2's status checks fail")

  const own = heartbeat?.instanceId === host.instanceId ? heartbeat : null
  if (own) {
    if (own.amiId !== host.ami) return verdict('unhealthy', `it booted ${own.amiId}, not ${host.ami}`, true)
    if (FAILED_SERVICE.has(own.service)) return verdict('unhealthy', `its gateway is ${own.service}`, true)
    const age = now.getTime() - Date.parse(own.at)
    if (!(age < HEARTBEAT_STALE_MS)) return verdict('unhealthy', `its last heartbeat is of ${own.at}`)
    if (own.service !== 'active') return verdict('unknown', `its gateway is ${own.service}`)
    if (host.checks !== 'ok') return verdict('unknown', "EC2's status checks are not done")
    return verdict('healthy', 'running, checks passed, gateway active')
  }
  const uptime = now.getTime() - Date.parse(host.launchedAt)
  if (uptime > BOOT_GRACE_MS) return verdict('unhealthy', 'no heartbeat')
  return verdict(
    'unknown',
    host.checks === 'ok' ? 'waiting for the first heartbeat' : "waiting for EC2's status checks",
  )
}
