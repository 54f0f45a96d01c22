import * as z from 'zod/mini'
import { HISTORY_LOOKBACK } from '../../domain/deploy/run.js'
import { parseJson } from '../../domain/json.js'
import { FLEET_STATE_KEY } from '../../domain/paths.js'
import type { ObjectStore, Progress, Runs, Tofu } from '../ports.js'

const LOCK_KEY = `${FLEET_STATE_KEY}.tflock`
/** GitHub's clock and the runner's differ by seconds, and a run is noticed to be over some time after its runner is lost. */
const SLACK_MS = 30_000

/** What OpenTofu writes into its lock. */
const lockSchema = z.object({ ID: z.string(), Who: z.catch(z.string(), 'unknown'), Created: z.string() })

/**
 * Releases the lock of a run that is over: one deploys at a time, so a lock that was taken between a run's start and its
 * end is that run's. A lock that no run explains, or whose run may still be at it, is left to whoever holds it.
 */
export async function releaseDeadLock(ports: {
  store: ObjectStore
  tofu: Tofu
  runs: Pick<Runs, 'list'> | null
  run: { id: number | null }
  progress: Progress
}): Promise<void> {
  const object = await ports.store.get(LOCK_KEY)
  const lock = lockSchema.safeParse(object && parseJson(object.text)).data
  if (!lock || !ports.runs) return
  const taken = Date.parse(lock.Created)
  // What GitHub does not say now leaves the lock where it is: OpenTofu waits for it, and names its holder.
  const runs = (await ports.runs.list(HISTORY_LOOKBACK).catch(() => [])).filter(({ id }) => id !== ports.run.id)
  const began = (run: (typeof runs)[number]) => Date.parse(run.startedAt ?? run.createdAt) - SLACK_MS
  if (runs.some((run) => run.status === 'in_progress' && began(run) <= taken)) return
  const holder = runs.find(
    (run) => run.status === 'completed' && began(run) <= taken && taken <= Date.parse(run.updatedAt) + SLACK_MS,
  )
  if (!holder) return
  ports.progress.note(
    `The state's lock was left by ${holder.url}, which is over: it is released (${lock.ID}, ${lock.Who}).`,
  )
  await ports.tofu.unlock(lock.ID)
}
