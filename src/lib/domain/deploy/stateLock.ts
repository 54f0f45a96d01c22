import * as z from 'zod/mini'
import { parseJson } from '../json.js'
import type { Run } from './run.js'

/** What OpenTofu's S3 backend writes into a lock, in the bucket and in the lock table alike. */
const lockSchema = z.object({
  ID: z.string(),
  Operation: z.string(),
  /** Ours: the URL of the run that holds it. OpenTofu leaves it empty. */
  Info: z.string(),
  /** user@hostname */
  Who: z.string(),
  Version: z.string(),
  Created: z.string(),
  Path: z.string(),
})
export type StateLock = z.infer<typeof lockSchema>

/** Null for what is no lock. */
export function parseLock(text: string): StateLock | null {
  const parsed = lockSchema.safeParse(parseJson(text))
  return parsed.success ? parsed.data : null
}

/** Of a workflow's run: with the attempt, because a run that is started again keeps its id. */
export const runReference = (url: string, attempt: number) => `${url}/attempts/${attempt}`

/** The workflow run that took it, or null where none did. */
export function runOfLock({ Info }: StateLock): { id: number; attempt: number } | null {
  const [, id, attempt = '1'] = /\/actions\/runs\/(\d+)(?:\/attempts\/(\d+))?$/.exec(Info) ?? []
  return id === undefined ? null : { id: Number(id), attempt: Number(attempt) }
}

export const holderOfLock = ({ Info, Who, Created }: StateLock) => `${Info || Who} since ${Created}`

/**
 * Whether whoever took a lock is over: its run has ended, or was started again.
 * @param run as GitHub has it; null where GitHub could not say
 */
export function isLockOver(lock: StateLock, run: Pick<Run, 'status' | 'attempt'> | null): boolean {
  const holder = runOfLock(lock)
  if (holder === null || run === null) return false
  return run.status === 'completed' || (run.attempt ?? 1) > holder.attempt
}

const headSchema = z.object({ version: z.literal(4), lineage: z.string(), serial: z.number() })
export type StateHead = z.infer<typeof headSchema>

/** Which version of which state a text is; null for what is no state. */
export function parseStateHead(text: string): StateHead | null {
  const parsed = headSchema.safeParse(parseJson(text))
  return parsed.success ? parsed.data : null
}

/**
 * What to do with a state that OpenTofu could not write.
 * - push: it follows what is stored
 * - old: a later one is stored
 * - foreign: it is no version of what is stored
 */
export function judgeUnwritten(unwritten: StateHead | null, stored: StateHead | null): 'push' | 'old' | 'foreign' {
  if (unwritten === null) return 'foreign'
  if (stored === null) return 'push'
  if (unwritten.lineage !== stored.lineage) return 'foreign'
  return unwritten.serial > stored.serial ? 'push' : 'old'
}
