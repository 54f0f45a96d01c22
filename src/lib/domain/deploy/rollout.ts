import type { HOST_STEPS } from '../contract/index.js'
import type { Registry } from '../registry/registry.js'
import { currentHost, type Host } from './host.js'

/** How the steps begin that wait for a host; the sandbox looks for it in a run's log. */
export const WAITING_FOR_HEALTH = 'wait until'

/** The steps as a list of hosts shows them. */
export const STEP_TITLES: Record<(typeof HOST_STEPS)[number], string> = {
  resume: 'look at what stands',
  plan: 'plan',
  candidate: 'create',
  standby: `${WAITING_FOR_HEALTH} ready`,
  handover: 'hand over',
  active: `${WAITING_FOR_HEALTH} healthy`,
  cleanup: 'destroy the old machine',
  rollback: 'go back',
}

export interface RolloutStep {
  id: string
  action: 'create' | 'replace'
  /** The first step of a rollout of several: the rest only follows if it becomes healthy. */
  canary: boolean
  /** What it runs now, for the way back; null where it does not exist. */
  previousAmi: string | null
  previousInstanceId: string | null
}

/**
 * The order in which hosts are deployed, one at a time. Hosts that do not exist yet come first: they prove the image
 * while nothing that serves is touched. Then the registry's order.
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
    .map(({ id, host }, index, all) => ({
      id,
      action: host ? 'replace' : 'create',
      canary: all.length > 1 && index === 0,
      previousAmi: host?.ami ?? null,
      previousInstanceId: host?.instanceId ?? null,
    }))
}
