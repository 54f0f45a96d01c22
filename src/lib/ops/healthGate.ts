import ms from 'ms'
import type { Heartbeat } from '../domain/contract.js'
import { asClawctlError } from '../domain/errors.js'
import { type HealthVerdict, judgeHealth } from '../domain/health.js'
import type { Host } from '../domain/host.js'
import { readHeartbeat } from './fleetStatus.js'
import type { Clock, Compute, ObjectStore } from './ports.js'

/** Quick at first, for a host that is there already; ten seconds is soon enough for one that boots for minutes. */
const FIRST_POLL_MS = 500
const LONGEST_POLL_MS = 10_000

export type GateVerdict = { healthy: true; host: Host } | { healthy: false; host: Host | null; reason: string }

/**
 * Waits until the new instance of the host is healthy. Fails at once where waiting can't help: the instance is gone,
 * it booted something else, its gateway failed. Never rejects for bad health, only where a service can't be asked.
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
  const deadline = clock.now().getTime() + wanted.timeoutMs
  let seen: Host | null = null
  let poll = FIRST_POLL_MS
  let last = 'EC2 does not show the new instance yet'
  for (;;) {
    const facts = await look(compute, store, wanted.id)
    if ('trouble' in facts) {
      last = facts.trouble
    } else {
      const candidates = facts.hosts.filter((host) => isCandidate(host, wanted))
      const host: Host | undefined = candidates.find((h) => h.instanceId === seen?.instanceId) ?? newest(candidates)
      if (host) {
        seen = host
        wanted.onSeen?.(host)
        const verdict: HealthVerdict = judgeHealth({ host, heartbeat: facts.heartbeat, now: clock.now() })
        if (verdict.health === 'healthy') return { healthy: true, host }
        if (verdict.terminal) return { healthy: false, host, reason: verdict.reason }
        last = verdict.reason
      } else if (seen) {
        return { healthy: false, host: seen, reason: `${seen.instanceId} was terminated` }
      }
    }
    const left = deadline - clock.now().getTime()
    if (left <= 0) {
      return {
        healthy: false,
        host: seen,
        reason: `not healthy after ${ms(wanted.timeoutMs, { long: true })}: ${last}`,
      }
    }
    say(last)
    await clock.sleep(Math.min(poll, left))
    poll = Math.min(poll * 1.5, LONGEST_POLL_MS)
  }
}

/** A service that can't be asked for a moment says nothing about the host. */
async function look(
  compute: Compute,
  store: ObjectStore,
  id: string,
): Promise<{ hosts: Host[]; heartbeat: Heartbeat | null } | { trouble: string }> {
  try {
    const [hosts, heartbeat] = await Promise.all([compute.describeHosts(), readHeartbeat(store, id)])
    return { hosts, heartbeat }
  } catch (error) {
    const { code, message } = asClawctlError(error)
    if (code !== 'UPSTREAM' && code !== 'RATE_LIMITED') throw error
    return { trouble: message }
  }
}

function isCandidate(host: Host, wanted: { id: string; ami: string; notInstanceId: string | null }): boolean {
  const { id, ami, instanceId, state } = host
  return id === wanted.id && ami === wanted.ami && instanceId !== wanted.notInstanceId && state !== 'shutting-down'
}

function newest(hosts: readonly Host[]): Host | undefined {
  return [...hosts].sort((a, b) => b.launchedAt.localeCompare(a.launchedAt))[0]
}
