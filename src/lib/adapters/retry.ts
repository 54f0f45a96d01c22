import pRetry from 'p-retry'

/** Three attempts with 0.3 and 0.6 s between them (each up to twice that): a blip is survived, an outage is told within seconds. */
const ATTEMPTS = 3
const MIN_DELAY_MS = 300

export interface RetryOptions {
  attempts?: number
  /** What a second try may mend. */
  retryable: (error: unknown) => boolean
  /** How long the service itself asked to wait. */
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
      if (!options.retryable(error)) return false
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs?.(error) ?? 0))
      return true
    },
  })
}
