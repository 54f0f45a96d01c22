import ms from 'ms'
import { heartbeatKey } from '../../domain/bundles/manifest.js'
import { judgeHealth } from '../../domain/deploy/health.js'
import { currentHost, type Host } from '../../domain/deploy/host.js'
import { poll } from '../poll.js'
import type { Clock, Compute, ObjectStore } from '../ports.js'
import { readHeartbeat } from './fleetStatus.js'

/** Soon enough for a host that boots for minutes. */
const LONGEST_POLL_MS = 10_000

export type GateVerdict = { healthy: true; host: Host } | { healthy: false; host: Host | null; reason: string }

/**
 * Waits until the new instance of the host is healthy. Fails at once where waiting can't help: the instance is gone,
 * it booted something else, its gateway failed. Never rejects for bad health, only where a service refuses us.
 */
export async function healthGate(
  ports: { compute: Compute; store: ObjectStore; clock: Clock },
  wanted: {
    id: string
    ami: string
    notInstanceId: string | null
    timeoutMs: number
    /** Told of the instance as soon as EC2 shows it. */
    onSeen?(host: Host): void
  },
  say: (text: string) => void,
): Promise<GateVerdict> {
  const { compute, store, clock } = ports
  let seen: Host | null = null
  const result = await poll<GateVerdict>(
    { clock, timeoutMs: wanted.timeoutMs, longestMs: LONGEST_POLL_MS, onWait: say },
    async () => {
      const [hosts, heartbeat] = await Promise.all([
        compute.describeHosts(),
        readHeartbeat(store, heartbeatKey(wanted.id)),
      ])
      const candidates = hosts.filter((host) => host.ami === wanted.ami && host.instanceId !== wanted.notInstanceId)
      const host = currentHost(candidates, wanted.id)
      if (!host) {
        if (seen) return { done: { healthy: false, host: seen, reason: `${seen.instanceId} was terminated` } }
        return { wait: 'EC2 does not show the new instance yet' }
      }
      seen = host
      wanted.onSeen?.(host)
      const verdict = judgeHealth({ host, heartbeat, now: clock.now() })
      if (verdict.health === 'healthy') return { done: { healthy: true, host } }
      if (verdict.terminal) return { done: { healthy: false, host, reason: verdict.reason } }
      return { wait: verdict.reason }
    },
  )
  if ('done' in result) return result.done
  const reason = `not healthy after ${ms(wanted.timeoutMs, { long: true })}: ${result.timedOut.replace(/\.$/, '')}`
  return { healthy: false, host: seen, reason }
}
