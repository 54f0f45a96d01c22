import * as z from 'zod/mini'
import { parseAs } from '../json.js'
import type { Run } from './run.js'

/** The content of a lock of OpenTofu's S3 backend, the same in the bucket and in the lock table. */
export const lockSchema = z.object({
  ID: z.string(),
  Operation: z.string(),
  /** In clawctl's locks, the URL of the run that holds it. OpenTofu leaves it empty. */
  Info: z.string(),
  /** user@hostname */
  Who: z.string(),
  Version: z.string(),
  Created: z.string(),
  Path: z.string(),
})
export type StateLock = z.infer<typeof lockSchema>

/** Null if the text is not a lock. */
export function parseLock(text: string): StateLock | null {
  return parseAs(lockSchema, text)
}

/** The URL of a run with its attempt, because a run that is started again keeps its id. */
export const runReference = (url: string, attempt: number) => `${url}/attempts/${attempt}`

/** The workflow run that took it, or null. */
export function runOfLock({ Info }: Pick<StateLock, 'Info'>): { id: number; attempt: number } | null {
  const [, id, attempt = '1'] = /\/actions\/runs\/(\d+)(?:\/attempts\/(\d+))?$/.exec(Info) ?? []
  return id === undefined ? null : { id: Number(id), attempt: Number(attempt) }
}

export const holderOfLock = ({ Info, Who, Created }: StateLock) => `${Info || Who} since ${Created}`

/**
 * Whether the holder of a lock is over: its run has ended, or was started again.
 * @param run from GitHub; null if it is not known
 */
export function isLockOver(lock: StateLock, run: Pick<Run, 'status' | 'attempt'> | null): boolean {
  const holder = runOfLock(lock)
  if (holder === null || run === null) return false
  return run.status === 'completed' || (run.attempt ?? 1) > holder.attempt
}

const headSchema = z.object({ version: z.literal(4), lineage: z.string(), serial: z.number() })
export type StateHead = z.infer<typeof headSchema>

/** Lineage and serial of a state; null if the text is not a state. */
export function parseStateHead(text: string): StateHead | null {
  return parseAs(headSchema, text)
}

/**
 * What to do with a state that OpenTofu could not store.
 * - push: it follows the stored one
 * - old: a later one is stored
 * - foreign: it has another lineage
 */
export function judgeUnwritten(unwritten: StateHead | null, stored: StateHead | null): 'push' | 'old' | 'foreign' {
  if (unwritten === null) return 'foreign'
  if (stored === null) return 'push'
  if (unwritten.lineage !== stored.lineage) return 'foreign'
  return unwritten.serial > stored.serial ? 'push' : 'old'
}
