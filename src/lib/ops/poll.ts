import { asClawctlError, type ClawctlError } from '../domain/errors.js'
import type { Clock } from './ports.js'

/** Quick at first, for what is there already. */
const FIRST_MS = 500

export type Look<T> = { done: T } | { wait: string }

export interface PollOptions {
  clock: Clock
  timeoutMs: number
  /** The longest pause between two looks. */
  longestMs: number
  /** The first one, where what is waited for may be there in no time. */
  firstMs?: number
  /** Told before each pause why there is one. */
  onWait?(reason: string): void
  /** How long looks may fail in a row before it is given up; as long as there is time where it is left out. */
  outageMs?: number
  /** Which failures of a look say nothing about what is waited for. */
  isPassing?(error: ClawctlError): boolean
}

/** A service that can't be asked for a moment, after its own retries. */
export const isOutage = ({ code }: ClawctlError) => code === 'UPSTREAM' || code === 'RATE_LIMITED'

/** Looks until there is a result or the time is up; the last reason then says what was waited for. */
export async function poll<T>(
  options: PollOptions,
  look: () => Promise<Look<T>>,
): Promise<{ done: T } | { timedOut: string }> {
  const { clock } = options
  const isPassing = options.isPassing ?? isOutage
  const deadline = clock.now().getTime() + options.timeoutMs
  let lastSeen = clock.now().getTime()
  for (let pause = options.firstMs ?? FIRST_MS; ; pause = Math.min(pause * 1.5, options.longestMs)) {
    let reason: string
    try {
      const seen = await look()
      lastSeen = clock.now().getTime()
      if ('done' in seen) return seen
      reason = seen.wait
    } catch (error) {
      const known = asClawctlError(error)
      const blindMs = clock.now().getTime() - lastSeen
      if (!isPassing(known) || blindMs > (options.outageMs ?? Number.POSITIVE_INFINITY)) throw known
      reason = known.message
    }
    const left = deadline - clock.now().getTime()
    if (left <= 0) return { timedOut: reason }
    options.onWait?.(reason)
    await clock.sleep(Math.min(pause, left))
  }
}
