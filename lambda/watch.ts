import * as z from 'zod/mini'
import { type Deploy, ID_PATTERN } from '../src/lib/domain/contract/index.js'
import { isSilent } from '../src/lib/domain/deploy/health.js'
import { isOver, LOST_AFTER_MS } from '../src/lib/domain/deploy/run.js'
import { parseAs } from '../src/lib/domain/json.js'
import { putUnchanged } from '../src/lib/ops/changeObject.js'
import { listDeploys } from '../src/lib/ops/deploy/deploys.js'
import { deployUnderWay, readHeartbeats } from '../src/lib/ops/deploy/fleetStatus.js'
import { readRegistry } from '../src/lib/ops/registry/readRegistry.js'
import type { LambdaPorts } from './context.js'
import type { Measure } from './metrics.js'

/** The time up to which finished deploys are counted. */
const STATE_KEY = 'control/watch.json'
const stateSchema = z.object({ until: z.string().check(z.refine((text) => !Number.isNaN(Date.parse(text)))) })
/** The interval of the rule; used if there is no state yet. */
const EVERY_MS = 5 * 60_000
/** Older ends are not counted: after an outage, the alarms of a whole night would come together. */
const MAX_AGE_MS = 60 * 60_000
/** More than the number of deploys that end within an hour. */
const RECENT = 50

/** The event of the platform stack's rule. Events from the URL always have a `requestContext`. */
export function isWatch(event: unknown): boolean {
  const data = typeof event === 'object' && event !== null ? (event as Record<string, unknown>) : {}
  return data.clawctl === 'watch' && !('requestContext' in data)
}

/** Measures silent hosts, and deploys that ended since the last run; `failure` if one of the two could not be read. */
export async function watch(ports: () => LambdaPorts): Promise<{ measures: Measure[]; failure: unknown }> {
  const results = await Promise.allSettled([silentHosts, endedDeploys].map(async (look) => look(ports())))
  return {
    measures: results.flatMap((result) => (result.status === 'fulfilled' ? result.value : [])),
    failure: results.find((result) => result.status === 'rejected')?.reason ?? null,
  }
}

/** 1 for a registered host without a fresh heartbeat, 0 for one with it; no measure for one that is being deployed. */
async function silentHosts({ compute, store, runs, registry, clock }: LambdaPorts): Promise<Measure[]> {
  if (!store) return []
  const now = clock.now()
  const describing = compute.describeHosts()
  const [hosts, heartbeats, deploying, registered] = await Promise.all([
    describing,
    readHeartbeats(store, describing),
    deployUnderWay({ store, runs, clock }),
    // Without GitHub, the hosts that exist are counted.
    readRegistry(registry).catch(() => null),
  ])
  const live = hosts.filter(({ state }) => state !== 'shutting-down')
  const ids =
    registered?.map(({ id }) => id) ?? [...new Set(live.map(({ id }) => id))].filter((id) => ID_PATTERN.test(id))
  return ids
    .filter((id) => deploying?.target !== id && deploying?.target !== 'all')
    .map((id) => {
      const machines = live.filter((host) => host.id === id)
      const heard = machines.some((host) => !isSilent(host, heartbeats.get(host.instanceId) ?? null, now))
      return { metric: 'HeartbeatMissing', value: heard ? 0 : 1, of: id }
    })
}

async function endedDeploys(ports: LambdaPorts): Promise<Measure[]> {
  const { store, clock } = ports
  if (!store) return []
  const now = clock.now().getTime()
  const [state, { deploys }] = await Promise.all([store.get(STATE_KEY), listDeploys(ports, { limit: RECENT })])
  const known = parseAs(stateSchema, state?.text)
  const from = Math.max(known ? Date.parse(known.until) : now - EVERY_MS, now - MAX_AGE_MS)
  const next = JSON.stringify({ until: new Date(now).toISOString() })
  // A concurrent run counts them.
  if (!(await putUnchanged(store, STATE_KEY, next, state?.etag ?? null))) return []
  const ended = deploys.filter((deploy) => isOver(deploy) && endOf(deploy) > from && endOf(deploy) <= now)
  const counts = new Map<string, number>()
  for (const { status } of ended) counts.set(status, (counts.get(status) ?? 0) + 1)
  return [...counts].map(([of, value]) => ({ metric: 'DeployOutcomes', value, of }))
}

/** A deploy whose runner died has no end time: `deployOfRecord` calls it lost two hours after its start. */
const endOf = ({ finishedAt, createdAt }: Deploy) =>
  Date.parse(finishedAt ?? '') || Date.parse(createdAt ?? '') + LOST_AFTER_MS
