import * as z from 'zod/mini'
import type { Order } from '../../domain/contract/index.js'
import { formatRunTitle } from '../../domain/contract/order.js'
import { claimKey } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseAs } from '../../domain/json.js'
import type { Clock, ObjectStore } from '../ports.js'

/**
 * GitHub lists a run some time after it started it; the time is not documented. Within this time a claim without a run
 * may belong to a dispatch whose answer was lost, so no request dispatches again.
 */
export const LIST_LAGS_MS = 10 * 60_000

const claimSchema = z.object({
  nonce: z.string(),
  at: z.string(),
  /** The claimed order, to detect another order with the same id. */
  order: z.optional(z.string()),
  /** The run that it started. The bucket keeps claims for 30 days. */
  run: z.optional(z.object({ id: z.number(), url: z.string(), requestId: z.string() })),
})
export type Claim = z.infer<typeof claimSchema>
type ClaimPorts = { store: ObjectStore | null; clock: Pick<Clock, 'now'> }
export interface TimePort {
  /**
   * Called before a claim is written, because a claim that is neither dispatched nor released blocks its id. @throws
   * ClawctlError TIMED_OUT if too little time is left for the claim, the dispatch, and the release of a refused
   * dispatch
   */
  mustHaveTime(): void
}

/** The order without the requester's identity, for comparisons. */
const textOf = ({ identity: _, ...order }: Order) => formatRunTitle(order)

export const isSameOrder = (a: Order, b: Order) => textOf(a) === textOf(b)

export async function claimOf(requestId: string, store: ObjectStore | null): Promise<Claim | null> {
  return parseAs(claimSchema, (await store?.get(claimKey(requestId)))?.text)
}

/** @throws ClawctlError REQUEST_CONFLICT if the id was claimed for another deploy */
export async function readClaim(order: Order, store: ObjectStore | null): Promise<Claim | null> {
  const claimed = await claimOf(order.requestId, store)
  if (claimed?.order !== undefined && claimed.order !== textOf(order)) throw requestConflict(order.requestId)
  return claimed
}

/**
 * Claims the request id. True if this caller may dispatch: it is the first, or the earlier claim has expired without a
 * run. Without a bucket, always true.
 * @throws ClawctlError TIMED_OUT
 */
export async function claimRequest(
  order: Order,
  { store, clock, mustHaveTime }: ClaimPorts & TimePort,
): Promise<boolean> {
  mustHaveTime()
  if (!store) return true
  const own: Claim = { nonce: crypto.randomUUID(), at: clock.now().toISOString(), order: textOf(order) }
  const key = claimKey(order.requestId)
  if (await store.putIf(key, JSON.stringify(own), null)) return true
  const there = await store.get(key)
  const claimed = parseAs(claimSchema, there?.text)
  // After a lost answer the SDK retries, and then fails because of its own write.
  if (claimed?.nonce === own.nonce) return true
  if (claimed?.run) return false
  const age = claimed ? clock.now().getTime() - Date.parse(claimed.at) : Number.POSITIVE_INFINITY
  if (there === null || age < LIST_LAGS_MS) return false
  mustHaveTime()
  return store.putIf(key, JSON.stringify(own), there.etag)
}

/** Ends the claim of a dispatch that GitHub refused, so that it can be repeated immediately. If this fails, the claim expires. */
export async function releaseClaim(requestId: string, store: ObjectStore | null): Promise<void> {
  const over: Claim = { nonce: 'released', at: new Date(0).toISOString() }
  await store?.put(claimKey(requestId), JSON.stringify(over)).catch(() => {})
}

/** Stores the run in the claim. A failure is ignored: the list of runs and the record also name the run. */
export async function linkClaim(
  order: Order,
  run: { id: number; url: string; requestId: string },
  { store, clock }: ClaimPorts,
): Promise<void> {
  const settled: Claim = { nonce: 'settled', at: clock.now().toISOString(), order: textOf(order), run }
  await store?.put(claimKey(order.requestId), JSON.stringify(settled)).catch(() => {})
}

export function requestConflict(requestId: string): ClawctlError {
  return new ClawctlError('REQUEST_CONFLICT', `The request id ${requestId} was used for another deploy.`, {
    hint: 'Leave the request id out, or use a new one.',
  })
}
