import type { HOST_STEPS } from '../contract/index.js'
import type { Registry } from '../registry/registry.js'
import { currentHost, type Host } from './host.js'

/** How long a host may take to become healthy, by default. */
export const HEALTH_TIMEOUT = '15m'

/** The beginning of steps that wait for a host; the sandbox searches for it in a run's log. */
export const WAITING_FOR_HEALTH = 'wait until'

/** The titles of the steps in a list of hosts. */
export const STEP_TITLES: Record<(typeof HOST_STEPS)[number], string> = {
  resume: 'check for an interrupted deploy',
  plan: 'plan',
  candidate: 'create',
  standby: `${WAITING_FOR_HEALTH} ready`,
  handover: 'hand over',
  active: `${WAITING_FOR_HEALTH} healthy`,
  cleanup: 'destroy the old machine',
  rollback: 'roll back',
}

export interface RolloutStep {
  id: string
  action: 'create' | 'replace'
  /** The AMI that it runs now, for a rollback; null if it does not exist. */
  previousAmi: string | null
  previousInstanceId: string | null
}

/**
 * The order in which hosts are deployed, one at a time: first hosts that do not exist yet, because they test the image
 * without changing a host that serves; then the registry's order.
 */
export function planRollout(input: {
  ids: readonly string[]
  registry: Registry
  hosts: readonly Host[]
}): RolloutStep[] {
  const { ids, registry, hosts } = input
  return registry
    .filter((entry) => ids.includes(entry.id))
    .map(({ id }) => ({ id, host: currentHost(hosts, id) }))
    .sort((a, b) => Number(Boolean(a.host)) - Number(Boolean(b.host)))
    .map(({ id, host }) => ({
      id,
      action: host ? 'replace' : 'create',
      previousAmi: host?.ami ?? null,
      previousInstanceId: host?.instanceId ?? null,
    }))
}
