import { holderOfLock, isLockOver, runOfLock, type StateLock } from '../../domain/deploy/stateLock.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { poll } from '../poll.js'
import type { LockPorts } from './ports.js'

/** Waiting is rare: the workflow's concurrency group already runs one deploy at a time. */
const WAIT_MS = 120_000
const MAX_POLL_MS = 10_000

/**
 * Runs `work` while this process holds the locks of the state. It releases a lock whose run is over, and waits for any
 * other.
 * @throws ClawctlError STATE_LOCKED
 */
export async function withStateLock<T>(ports: LockPorts, work: () => Promise<T>): Promise<T> {
  const { locks, clock, progress } = ports
  let waitsFor: StateLock | null = null
  const result = await poll<true>({ clock, timeoutMs: WAIT_MS, longestMs: MAX_POLL_MS }, async () => {
    const other = await locks.take()
    if (other === null) return { done: true }
    if (await isHolderOver(ports, other)) {
      await releaseDead(ports, other)
      if ((await locks.take()) === null) return { done: true }
    } else if (waitsFor?.ID !== other.ID) progress.note(`Waiting for the lock of the state: ${holderOfLock(other)}.`)
    waitsFor = other
    return { wait: `the lock of ${holderOfLock(other)}` }
  })
  if ('timedOut' in result) throw stateLocked(waitsFor, result.timedOut)
  try {
    if (await locks.dropStaleDigest())
      progress.note(
        'The lock table had the digest of another state, left by a deploy that ended while it stored one: removed it.',
      )
    return await work()
  } finally {
    await locks.release().catch((error: unknown) => {
      const why = asClawctlError(error).message
      progress.note(`The lock of the state could not be released: ${why} The next deploy releases it.`)
    })
  }
}

/**
 * Whether the process that took the lock of another process is over: GitHub reports that its run is, or it was an earlier
 * step of this run, whose steps run one after the other. If GitHub does not answer, it counts as alive.
 */
export async function isHolderOver(
  { runs, locks }: Pick<LockPorts, 'runs' | 'locks'>,
  lock: StateLock,
): Promise<boolean> {
  const holder = runOfLock(lock)
  if (holder !== null && lock.Info === locks.run) return true
  if (holder === null || runs === null) return false
  return isLockOver(lock, await runs.find(holder.id).catch(() => null))
}

async function releaseDead({ locks, progress }: LockPorts, lock: StateLock): Promise<void> {
  await locks.release(lock.ID)
  progress.note(`Released the lock of the state that ${holderOfLock(lock)} left: its process is over.`)
}

function stateLocked(lock: StateLock | null, waitedFor: string): ClawctlError {
  if (lock === null) {
    return new ClawctlError('UPSTREAM', `The lock of the state could not be taken: ${waitedFor}.`)
  }
  return new ClawctlError('STATE_LOCKED', `The state is locked by ${holderOfLock(lock)}.`, {
    hint: `Wait for it. If it no longer runs: clawctl fleet recover --unlock ${lock.ID}`,
  })
}
