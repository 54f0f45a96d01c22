import { ClawctlError } from '../../domain/errors.js'
import type { Clock } from '../ports.js'
import type { Attempt } from './ports.js'

export interface SendOptions<T> {
  /** The most items in flight. */
  concurrency: number
  clock: Clock
  stop: AbortSignal
  /** Name for messages, such as "block 17". */
  nameOf(item: T): string
}

/**
 * Sends every item concurrently, with retries: the one retry layer of blocks and parts. `slot` is the number,
 * below `concurrency`, that no other item in flight has (for buffers). Slows down when throttled and
 * recovers. After the first item that can't be sent, it starts no other, and waits for those in flight.
 * @throws ClawctlError CANCELLED on `stop`, UPSTREAM or RATE_LIMITED after the last try, and whatever `send` throws
 */
export async function sendAll<T>(
  items: Iterable<T>,
  send: (item: T, slot: number) => Promise<Attempt<unknown>>,
  options: SendOptions<T>,
): Promise<{ retried: number }> {
  const { clock, stop, concurrency } = options
  const pace = new Pace(concurrency)
  const iterator = items[Symbol.iterator]()
  const free = Array.from({ length: concurrency }, (_, i) => concurrency - 1 - i)
  const underWay = new Set<Promise<void>>()
  const failures: unknown[] = []
  let retried = 0

  async function deliver(item: T, slot: number): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      if (stop.aborted) throw interrupted()
      const outcome = await send(item, slot)
      if (outcome.ok) {
        pace.wentWell()
        return
      }
      if (stop.aborted) throw interrupted()
      if (outcome.kind === 'throttled') pace.askedToSlowDown(clock.now().getTime())
      const pause = pauseAfter(outcome.kind, tries, Math.random())
      // Another item failed finally: stop retrying this one.
      if (pause === null || failures.length > 0) throw givenUp(options.nameOf(item), outcome)
      retried += 1
      await clock.sleep(pause)
    }
  }

  let delivered = () => {}
  let next = iterator.next()
  while (!next.done && failures.length === 0 && !stop.aborted) {
    const slot = underWay.size < pace.limit ? free.pop() : undefined
    if (slot === undefined) {
      // Not Promise.race: each call leaves a reaction on every pending promise, 30 MiB in an import of 3600 blocks.
      await new Promise<void>((resolve) => {
        delivered = resolve
      })
      continue
    }
    const delivery = deliver(next.value, slot)
      .catch((error) => void failures.push(error))
      .finally(() => {
        underWay.delete(delivery)
        free.push(slot)
        delivered()
      })
    underWay.add(delivery)
    next = iterator.next()
  }
  await Promise.all(underWay)
  if (stop.aborted) throw interrupted()
  if (failures.length > 0) throw failures[0]
  return { retried }
}

export function interrupted(): ClawctlError {
  return new ClawctlError('CANCELLED', 'It was interrupted.')
}

function givenUp(name: string, { kind, error }: { kind: Refusal; error: Error }): ClawctlError {
  const reason = error.name === 'Error' ? error.message : `${error.name}: ${error.message}`
  return kind === 'throttled'
    ? new ClawctlError('RATE_LIMITED', `AWS still throttled ${name} after the retries (${reason}).`, {
        cause: error,
      })
    : new ClawctlError('UPSTREAM', `${name} could not be sent, even after the retries (${reason}).`, { cause: error })
}

/** Only the first of several refusals counts, because the other requests were already in flight. */
const CUT_EVERY_MS = 500

/**
 * The number of requests in flight: halved when the service throttles, one more after each successful round
 * (additive increase, multiplicative decrease, as in TCP).
 */
export class Pace {
  readonly #most: number
  #limit: number
  #lastCut = Number.NEGATIVE_INFINITY

  constructor(most: number) {
    this.#most = most
    this.#limit = most
  }

  get limit(): number {
    return Math.floor(this.#limit)
  }

  wentWell(): void {
    this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit)
  }

  /** `now` in milliseconds. */
  askedToSlowDown(now: number): void {
    if (now - this.#lastCut < CUT_EVERY_MS) return
    this.#lastCut = now
    this.#limit = Math.max(1, this.#limit / 2)
  }
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
type Refusal = 'throttled' | 'passing' | 'unknown'
/**
 * With these pauses, it survives some 25 s of failures, a minute of throttling, and two minutes in
 * which a service does not show a new resource.
 */
const MOST_TRIES: Record<Refusal, number> = { passing: 9, throttled: 15, unknown: 23 }

/** The pause before the next try in milliseconds; null after the last. `tries` were made, `random` is from 0 to 1. */
export function pauseAfter(kind: Refusal, tries: number, random: number): number | null {
  if (tries >= MOST_TRIES[kind]) return null
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1))
  return full * (0.5 + random / 2)
}
