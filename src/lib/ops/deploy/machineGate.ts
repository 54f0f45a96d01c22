import ms from 'ms'
import { HEARTBEAT_PREFIX, heartbeatKey } from '../../domain/bundles/manifest.js'
import { type Heartbeat, heartbeatSchema } from '../../domain/contract/index.js'
import { type HealthVerdict, judgeHealth } from '../../domain/deploy/health.js'
import type { Host } from '../../domain/deploy/host.js'
import { parseAs } from '../../domain/json.js'
import { poll } from '../poll.js'
import type { ObjectStore } from '../ports.js'
import { isGone } from './observation.js'
import type { HostDeployPorts } from './ports.js'

const MAX_POLL_MS = 10_000
/** How long EC2 may take to show a new machine. */
const SHOWN_AFTER_MS = 2 * 60_000

export type GateVerdict = { passed: true; host: Host } | { passed: false; host: Host | null; reason: string }

export interface Gate {
  id: string
  instanceId: string
  role: 'standby' | 'active'
  timeoutMs: number
}

/** Null if there is none, or the object is not valid. */
export async function heartbeatAt(store: ObjectStore, key: string): Promise<Heartbeat | null> {
  return parseAs(heartbeatSchema, (await store.get(key))?.text)
}

export const readHeartbeat = (store: ObjectStore, id: string, instanceId: string) =>
  heartbeatAt(store, heartbeatKey(id, instanceId))

/** Deletes the heartbeats of an id's machines, except of the one that serves. What remains is deleted by the next deploy. */
export async function removeHeartbeats(store: ObjectStore, id: string, serving: string | null): Promise<void> {
  const kept = serving && heartbeatKey(id, serving)
  try {
    for (const { key } of await store.list(`${HEARTBEAT_PREFIX}${id}/`)) {
      if (key !== kept) await store.delete(key)
    }
  } catch {
    // Not a failure of the deploy.
  }
}

/**
 * Waits until a machine is healthy for its role. Fails immediately if waiting can't help, or with the second heartbeat if
 * one heartbeat may be wrong. Bad health is a result; it rejects only if a service fails.
 */
export async function machineGate(
  ports: Pick<HostDeployPorts, 'compute' | 'store' | 'clock'>,
  gate: Gate,
  say: (clause: string) => void,
): Promise<GateVerdict> {
  const { compute, store, clock } = ports
  const { id, instanceId, role } = gate
  const began = clock.now().getTime()
  let host: Host | null = null
  const heartbeats = new HeartbeatHistory()
  const failed = (reason: string): { done: GateVerdict } => ({ done: { passed: false, host, reason } })
  const limits = { clock, timeoutMs: gate.timeoutMs, longestMs: MAX_POLL_MS, onWait: say }
  const result = await poll<GateVerdict>(limits, async () => {
    const [hosts, heartbeat] = await Promise.all([compute.describeHosts(), readHeartbeat(store, id, instanceId)])
    const now = clock.now()
    const found = hosts.find((one) => one.instanceId === instanceId)
    if (!found) {
      if (host === null && now.getTime() - began < SHOWN_AFTER_MS)
        return { wait: `EC2 does not show ${instanceId} yet` }
      if (await isGone(ports, instanceId)) return failed(`${instanceId} was terminated`)
      return { wait: `EC2 does not list ${instanceId}` }
    }
    host = found
    const seen = heartbeats.add(heartbeat)
    const verdict = judgeHealth({ host, heartbeat, seen, now }, role)
    if (verdict.health === 'healthy') return { done: { passed: true, host } }
    return heartbeats.isFinal(verdict, heartbeat) ? failed(verdict.reason) : { wait: verdict.reason }
  })
  if ('done' in result) return result.done
  const waited = ms(gate.timeoutMs, { long: true })
  const reason = `not ${role === 'active' ? 'healthy' : 'ready'} after ${waited}: ${result.timedOut.replace(/\.$/, '')}`
  return { passed: false, host, reason }
}

class HeartbeatHistory {
  #first: Heartbeat | null = null
  #earlier: Heartbeat | null = null
  /** A verdict that becomes final when another heartbeat repeats it. */
  #doubt: { reason: string; at: string } | null = null

  add(heartbeat: Heartbeat | null): { earlier: Heartbeat | null; restarts: number } {
    const gateway = heartbeat?.gateway
    if (!gateway) return { earlier: null, restarts: 0 }
    if (gateway.restarts != null) this.#first ??= heartbeat
    if (gateway.state === 'active' && this.#earlier?.gateway?.mainPid !== gateway.mainPid) this.#earlier = heartbeat
    return { earlier: this.#earlier, restarts: (gateway.restarts ?? 0) - (this.#first?.gateway?.restarts ?? 0) }
  }

  isFinal({ fate, reason }: HealthVerdict, heartbeat: Heartbeat | null): boolean {
    if (fate !== 'again') {
      this.#doubt = null
      return fate === 'final'
    }
    const at = heartbeat?.at ?? ''
    if (this.#doubt?.reason === reason) return this.#doubt.at !== at
    this.#doubt = { reason, at }
    return false
  }
}
