import type { Deploy, Fleet } from '../contract/index.js'

/** Outcomes after which a host was healthy with the AMI of its entry. */
const HEALTHY = new Set(['created', 'replaced', 'rolled-back', 'kept'])

/**
 * The rollback target of each instance, by id: the AMI with which it was healthy before its current one, or null.
 * @param deploys newest first
 */
export function rollbackAmis(fleet: Fleet, deploys: readonly Deploy[], target: string): Map<string, string | null> {
  const instances = fleet.instances.filter(({ id, state }) => state !== 'orphan' && (target === 'all' || id === target))
  return new Map(instances.map(({ id, ami }) => [id, before(id, ami)]))

  function before(id: string, current: string | null): string | null {
    for (const { hosts } of deploys) {
      const host = hosts.find((one) => one.id === id)
      if (!host) continue
      const candidates = [HEALTHY.has(host.outcome) ? host.ami : null, host.previousAmi]
      const found = candidates.find((ami) => ami !== null && ami !== current)
      if (found) return found
    }
    return null
  }
}
