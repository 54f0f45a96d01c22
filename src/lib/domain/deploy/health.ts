import ms from 'ms'
import type { Heartbeat } from '../contract/index.js'
import type { Host } from './host.js'

/** A host writes a heartbeat each minute, so five are missing then. */
export const HEARTBEAT_STALE_MS = 5 * 60_000
/** The accepted difference of clocks; a heartbeat with a later time is not used. */
const CLOCK_AHEAD_MS = 5 * 60_000
/** The first boot fetches the bundle and switches the configuration, before the first heartbeat. */
export const BOOT_GRACE_MS = 15 * 60_000
/** A gateway that crashes in a loop is `active` in every second sample, but never for a whole minute. */
export const STABLE_MS = 60_000
/** For standby; the gateway is checked again when the machine is active. */
const STANDBY_STABLE_MS = 15_000
/** Units retry (credentials of a new role take up to a minute); after this time retries will not help. */
const FAILURE_PATIENCE_MS = 3 * 60_000
/** systemd states that the gateway does not leave within a boot. */
const FAILED_STATES = new Set(['failed'])
/** The number of restarts that a gate counts as a loop. */
const RESTARTS_OF_A_LOOP = 3

export interface HealthVerdict {
  health: 'healthy' | 'unhealthy' | 'unknown'
  /**
   * Whether waiting can help: `wait`: it takes time; `again`: final if the next heartbeat reports it too; `final`: no
   * later heartbeat can change it.
   */
  fate: 'wait' | 'again' | 'final'
  /** One clause for people: "waiting for the first heartbeat". */
  reason: string
}

export interface HealthFacts {
  host: Host
  /** This machine's heartbeat, or null. */
  heartbeat: Heartbeat | null
  /** Earlier heartbeats, from a gate. */
  seen?: {
    /** The first heartbeat of the gateway's current process, or null. */
    earlier: Heartbeat | null
    /** Restarts since the first heartbeat. */
    restarts: number
  }
  now: Date
}

const say = (health: HealthVerdict['health'], reason: string, fate: HealthVerdict['fate'] = 'wait'): HealthVerdict => ({
  health,
  reason,
  fate,
})

/**
 * The health of a machine for its role. `active`: its gateway serves and every channel is connected. `standby`: all but
 * the channels is up, and their tokens were accepted.
 */
export function judgeHealth(facts: HealthFacts, role: 'active' | 'standby' = 'active'): HealthVerdict {
  const { host, heartbeat, now } = facts
  if (host.state === 'pending') return say('unknown', 'the instance is starting')
  if (host.state !== 'running') return say('unhealthy', `EC2 reports ${host.state}`, 'final')
  if (host.checks === 'impaired') return say('unhealthy', "EC2's status checks fail")
  if (heartbeat === null || heartbeat.instanceId !== host.instanceId) return judgeSilence(host, now)
  const age = now.getTime() - Date.parse(heartbeat.at)
  if (!(age >= -CLOCK_AHEAD_MS)) return say('unknown', `its last heartbeat is from the future: ${heartbeat.at}`)
  if (age >= HEARTBEAT_STALE_MS) return say('unhealthy', `its last heartbeat is from ${heartbeat.at}`)
  if (heartbeat.amiId !== host.ami) return say('unhealthy', `it booted ${heartbeat.amiId}, not ${host.ami}`, 'final')
  const restarts = facts.seen?.restarts ?? 0
  if (restarts >= RESTARTS_OF_A_LOOP) return say('unhealthy', `its gateway restarted ${restarts} times`, 'final')
  const failed = failureOf(heartbeat, now)
  if (failed) return failed
  if (heartbeat.stage !== role)
    return say(heartbeat.stage === 'yielded' ? 'unhealthy' : 'unknown', stageOf(heartbeat, now))
  const gateway = judgeGateway(facts, heartbeat, role)
  if (gateway) return gateway
  if (host.checks !== 'ok') return say('unknown', "EC2's status checks are not done")
  return say('healthy', role === 'active' ? 'running, checks passed, gateway connected' : 'ready to take over')
}

/** Whether a machine that should send heartbeats has not sent a fresh one. */
export function isSilent(host: Host, heartbeat: Heartbeat | null, now: Date): boolean {
  const own = heartbeat?.instanceId === host.instanceId ? heartbeat : null
  const isBooting = now.getTime() - Date.parse(host.launchedAt) <= BOOT_GRACE_MS
  return !isBooting && !(own && now.getTime() - Date.parse(own.at) < HEARTBEAT_STALE_MS)
}

function judgeSilence(host: Host, now: Date): HealthVerdict {
  const uptime = now.getTime() - Date.parse(host.launchedAt)
  if (uptime > BOOT_GRACE_MS) return say('unhealthy', 'no heartbeat')
  const what = host.checks === 'ok' ? 'waiting for the first heartbeat' : "waiting for EC2's status checks"
  return say('unknown', what)
}

function stageOf({ stage, stageSince }: Heartbeat, now: Date): string {
  if (stage === 'yielded') return 'it has yielded to another machine'
  const since = now.getTime() - Date.parse(stageSince ?? '')
  return `it is in stage ${stage}${since >= 1000 ? ` for ${ms(since, { long: true })}` : ''}`
}

/** The failed unit with its last line, as one clause. */
export function failureText(failure: NonNullable<Heartbeat['failure']>): string {
  const line = failure.lines.at(-1)?.trim()
  return `stage ${failure.stage} fails${failure.unit ? ` in ${failure.unit}` : ''}${line ? `: ${line}` : ''}`
}

function failureOf({ failure, stageSince }: Heartbeat, now: Date): HealthVerdict | null {
  if (!failure) return null
  const stuck = now.getTime() - Date.parse(stageSince ?? failure.at)
  return say('unhealthy', failureText(failure), stuck >= FAILURE_PATIENCE_MS ? 'again' : 'wait')
}

/** A problem of the gateway, or a fact about it that is not known yet; null if there is none. */
function judgeGateway(facts: HealthFacts, heartbeat: Heartbeat, role: 'active' | 'standby'): HealthVerdict | null {
  const { gateway } = heartbeat
  const { seen } = facts
  if (!gateway) return say('unknown', 'its heartbeat does not report the gateway')
  if (FAILED_STATES.has(gateway.state)) return say('unhealthy', `its gateway is ${gateway.state}`, 'again')
  if (gateway.state !== 'active') return say('unknown', `its gateway is ${gateway.state}`)
  const [plugin] = gateway.plugins
  if (plugin) return say('unhealthy', `the gateway refuses its plugin ${plugin.name}: ${plugin.error}`, 'again')
  const down = gateway.channels.find(({ connected }) => connected === false)
  if (down) {
    const why = down.reason ? `: ${down.reason}` : ''
    const what = role === 'standby' ? `the token of ${down.name} is rejected` : `${down.name} is not connected`
    return say('unhealthy', `${what}${why}`, role === 'standby' ? 'again' : 'wait')
  }
  if (!gateway.probedAt || gateway.channels.length === 0) return say('unknown', 'its channels were not checked yet')
  const unknown = gateway.channels.find(({ connected }) => connected !== true)
  if (unknown)
    return say('unknown', `the state of ${unknown.name} is unknown${unknown.reason ? `: ${unknown.reason}` : ''}`)
  const stableMs = role === 'active' ? STABLE_MS : STANDBY_STABLE_MS
  const since = Date.parse(heartbeat.at) - Date.parse(gateway.activeSince ?? '')
  if (!(since >= stableMs)) {
    const time = Number.isNaN(since) ? 'an unknown time' : since < 1000 ? 'under a second' : ms(since, { long: true })
    return say('unknown', `its gateway is active for ${time}, of ${ms(stableMs, { long: true })}`)
  }
  if (role === 'standby' || !seen) return null
  const { earlier } = seen
  const isSecond = earlier && earlier.at !== heartbeat.at && earlier.gateway?.mainPid === gateway.mainPid
  return isSecond ? null : say('unknown', 'waiting for a second heartbeat')
}
