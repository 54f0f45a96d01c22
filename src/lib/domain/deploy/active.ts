import { type ActiveMachine, activeMachineSchema } from '../contract/index.js'
import { parseJson } from '../json.js'
import type { Host } from './host.js'

/**
 * Holder of an id that nobody may act for: during a handover, and until a new id's first machine has passed. It has the
 * form of an EC2 id, as hosts take nothing else for a holder, and EC2 gives it to nobody.
 */
export const NOBODY = 'i-00000000000000000'

/** Null for what is no such object. */
export function parseActive(text: string): ActiveMachine | null {
  const parsed = activeMachineSchema.safeParse(parseJson(text))
  return parsed.success ? parsed.data : null
}

export function formatActive(active: Omit<ActiveMachine, 'schema'>): string {
  return JSON.stringify({ schema: 1, ...active })
}

export interface Standing {
  /** The machine that serves, or is to serve again; null where there is none. */
  holder: Host | null
  /** The holder's predecessor that a handover has not removed yet. */
  predecessor: Host | null
  /** What a deploy left that ended before its handover, or a second machine that nobody named. Oldest first. */
  leftovers: Host[]
  /** The role is with nobody that runs, and was taken from the holder: it has to be given back. */
  suspended: boolean
  /** EC2 has stopped the holder, which has the role: nobody serves until it is started. */
  stopped: boolean
}

const isLive = (host: Host) => host.state !== 'shutting-down'
const byLaunch = (a: Host, b: Host) =>
  a.launchedAt.localeCompare(b.launchedAt) || a.instanceId.localeCompare(b.instanceId)

/**
 * What stands of one id, from EC2 and the object that names the active machine. The object also says who gets the role
 * back (`from`): beside a holder that runs, that is the predecessor which the handover has not removed yet; where
 * nobody that runs is named, it is the holder. Every other machine was never handed to. Where there is no object every
 * machine may act, and the oldest that runs is taken for the holder.
 * @param hosts of this id
 */
export function standingOf(hosts: readonly Host[], active: ActiveMachine | null): Standing {
  const live = hosts.filter(isLive).sort(byLaunch)
  const named = live.find(({ instanceId }) => instanceId === active?.instanceId)
  const giver = live.find(({ instanceId }) => instanceId === active?.from)
  const unnamed = active === null ? (live.find(({ state }) => state === 'running') ?? live[0]) : undefined
  const holder = named ?? giver ?? unnamed ?? null
  const predecessor = (named && giver !== named && giver) || null
  const suspended = named === undefined && giver !== undefined
  return {
    holder,
    predecessor,
    leftovers: live.filter((host) => host !== holder && host !== predecessor),
    suspended,
    stopped: !suspended && (holder?.state === 'stopped' || holder?.state === 'stopping'),
  }
}
