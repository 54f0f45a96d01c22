import pRetry from 'p-retry'

/** Three attempts with 0.3 and 0.6 s between them (each up to twice that): a blip is survived, an outage is told within seconds. */
const ATTEMPTS = 3
const MIN_DELAY_MS = 300

/** Whoever waits sees nothing meanwhile: for a longer pause it fails, and says when to try again. */
const LONGEST_PAUSE_MS = 10_000

/** What a `Retry-After` asks for, in seconds or as a date: milliseconds, 0 for none that can be read. */
export function parseRetryAfter(value: string | null | undefined): number {
  if (!value) return 0
  const asked = /^\s*\d+\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(asked) ? Math.max(0, asked) : 0
}

/** When to try again, as a hint; null where nothing was asked for. */
export function retryHint(pauseMs: number): string | null {
  if (pauseMs <= 0) return null
  const seconds = Math.ceil(pauseMs / 1000)
  return seconds <= 120 ? `Try again in ${seconds} s.` : `Try again in ${Math.ceil(seconds / 60)} minutes.`
}

export interface RetryOptions {
  attempts?: number
  /** What a second try may mend. */
  retryable: (error: unknown) => boolean
  /** How long the service itself asked to wait; what is over ten seconds is not waited for. */
  pauseMs?: (error: unknown) => number
}

/** The one retry layer of everything that is not an AWS SDK, which has its own. */
export function withRetry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  return pRetry(work, {
    retries: (options.attempts ?? ATTEMPTS) - 1,
    minTimeout: MIN_DELAY_MS,
    randomize: true,
    // Here and not in onFailedAttempt, which also waits where nothing follows.
    async shouldRetry({ error }) {
      const pauseMs = options.pauseMs?.(error) ?? 0
      if (!options.retryable(error) || pauseMs > LONGEST_PAUSE_MS) return false
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      return true
    },
  })
}
