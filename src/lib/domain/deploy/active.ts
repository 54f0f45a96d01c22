import { type ActiveMachine, activeMachineSchema } from '../contract/index.js'
import { parseAs } from '../json.js'
import type { Host } from './host.js'

/**
 * Named while no machine may be active: during a handover, and until the first machine of a new id has passed. It has the
 * form of an EC2 id, because hosts accept nothing else; EC2 never assigns it.
 */
export const NO_MACHINE = 'i-00000000000000000'

/** Null if the text is not valid. */
export function parseActive(text: string): ActiveMachine | null {
  return parseAs(activeMachineSchema, text)
}

export function formatActive(active: Omit<ActiveMachine, 'schema'>): string {
  return JSON.stringify({ schema: 1, ...active })
}

export interface Standing {
  /** The machine that serves or will serve again; null if there is none. */
  holder: Host | null
  /** The old machine, which a handover has not destroyed yet. */
  predecessor: Host | null
  /** Candidates of deploys that ended before their handover, and other machines that no deploy named. Oldest first. */
  leftovers: Host[]
  /** No running machine has the role: the holder gets it back. */
  suspended: boolean
  /** The holder has the role, but EC2 has stopped it: the id is not served until EC2 starts it. */
  stopped: boolean
}

const isLive = (host: Host) => host.state !== 'shutting-down'
const byLaunch = (a: Host, b: Host) =>
  a.launchedAt.localeCompare(b.launchedAt) || a.instanceId.localeCompare(b.instanceId)

/**
 * The machines of one id by their part in a handover, from EC2 and the object that names the active machine. Its `from`
 * names the machine that gets the role back: if the active machine runs, that is the old machine, which the handover has
 * not destroyed yet; else it is the holder. All other machines never had the role. Without the object every machine may
 * be active, and the oldest running one counts as the holder.
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
