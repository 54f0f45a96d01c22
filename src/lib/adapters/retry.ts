import pRetry from 'p-retry'

/** Three attempts with 0.3 and 0.6 s between them (each up to twice that): a blip is survived, an outage is told within seconds. */
const RETRIES = 2
const MIN_DELAY_MS = 300

/**
 * The one retry layer of everything that is not an AWS SDK, which has its own. `retryable` says what a second try may
 * mend, `pauseMs` how long the service itself asked to wait.
 */
export function withRetry<T>(
  work: () => Promise<T>,
  retryable: (error: unknown) => boolean,
  pauseMs: (error: unknown) => number = () => 0,
): Promise<T> {
  return pRetry(work, {
    retries: RETRIES,
    minTimeout: MIN_DELAY_MS,
    randomize: true,
    // Here and not in onFailedAttempt, which also waits where nothing follows.
    async shouldRetry({ error }) {
      if (!retryable(error)) return false
      await new Promise((resolve) => setTimeout(resolve, pauseMs(error)))
      return true
    },
  })
}
