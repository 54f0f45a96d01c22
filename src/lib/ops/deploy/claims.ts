import * as z from 'zod/mini'
import type { Order } from '../../domain/contract/index.js'
import { formatRunTitle } from '../../domain/contract/order.js'
import { claimKey } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'
import type { Clock, ObjectStore } from '../ports.js'

/**
 * GitHub starts a run and lists it later; it gives no figure. Until then a claim without a run may be one whose answer
 * was lost, and nobody dispatches again.
 */
export const LIST_LAGS_MS = 10 * 60_000

const claimSchema = z.object({
  nonce: z.string(),
  at: z.string(),
  /** What was asked, for who asks something else with the same id. */
  order: z.optional(z.string()),
  /** Where it led to. Kept for as long as the bucket keeps claims: 30 days. */
  run: z.optional(z.object({ id: z.number(), url: z.string(), requestId: z.string() })),
})
export type Claim = z.infer<typeof claimSchema>
type ClaimPorts = { store: ObjectStore | null; clock: Pick<Clock, 'now'> }
export interface TimePort {
  /**
   * Asked before a claim is written: one that is neither dispatched nor released blocks its id.
   * @throws ClawctlError TIMED_OUT where the time no longer suffices for the claim, the dispatch, and the release where it is refused
   */
  mustHaveTime(): void
}

/** What is the same whatever became known of who asks. */
const textOf = ({ identity: _, ...order }: Order) => formatRunTitle(order)

export const isSameOrder = (a: Order, b: Order) => textOf(a) === textOf(b)

export async function claimOf(requestId: string, store: ObjectStore | null): Promise<Claim | null> {
  const object = await store?.get(claimKey(requestId))
  const parsed = claimSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/** @throws ClawctlError REQUEST_CONFLICT where the id was claimed for another deploy */
export async function readClaim(order: Order, store: ObjectStore | null): Promise<Claim | null> {
  const claimed = await claimOf(order.requestId, store)
  if (claimed?.order !== undefined && claimed.order !== textOf(order)) throw conflict(order.requestId)
  return claimed
}

/**
 * True for the one who may dispatch: the first who asks with this id, or who takes over from one that must be dead.
 * Where nothing can be remembered, everybody may.
 * @throws ClawctlError TIMED_OUT
 */
export async function claim(order: Order, { store, clock, mustHaveTime }: ClaimPorts & TimePort): Promise<boolean> {
  mustHaveTime()
  if (!store) return true
  const own: Claim = { nonce: crypto.randomUUID(), at: clock.now().toISOString(), order: textOf(order) }
  const key = claimKey(order.requestId)
  if (await store.putIf(key, JSON.stringify(own), null)) return true
  const there = await store.get(key)
  const claimed = claimSchema.safeParse(there && parseJson(there.text))
  // The write may have arrived and its answer not: the SDK then tried again and met itself.
  if (claimed.success && claimed.data.nonce === own.nonce) return true
  if (claimed.success && claimed.data.run) return false
  const age = claimed.success ? clock.now().getTime() - Date.parse(claimed.data.at) : Number.POSITIVE_INFINITY
  if (there === null || age < LIST_LAGS_MS) return false
  mustHaveTime()
  return store.putIf(key, JSON.stringify(own), there.etag)
}

/** What GitHub refused may be asked again at once. Without it the claim ends by itself. */
export async function release(requestId: string, store: ObjectStore | null): Promise<void> {
  const over: Claim = { nonce: 'released', at: new Date(0).toISOString() }
  await store?.put(claimKey(requestId), JSON.stringify(over)).catch(() => {})
}

/** The id leads to this run from now on. A claim that can't be written is no failure: list and record know the run, too. */
export async function settle(
  order: Order,
  run: { id: number; url: string; requestId: string },
  { store, clock }: ClaimPorts,
): Promise<void> {
  const settled: Claim = { nonce: 'settled', at: clock.now().toISOString(), order: textOf(order), run }
  await store?.put(claimKey(order.requestId), JSON.stringify(settled)).catch(() => {})
}

export function conflict(requestId: string): ClawctlError {
  return new ClawctlError('REQUEST_CONFLICT', `The request id ${requestId} was used for another deploy.`, {
    hint: 'Leave the request id out, or use a new one.',
  })
}
