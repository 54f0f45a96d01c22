import pRetry from 'p-retry'

/** Three attempts with pauses of 0.3 and 0.6 s (each up to twice that), so that an outage is reported within seconds. */
const ATTEMPTS = 3
const MIN_DELAY_MS = 300

/** The longest pause: there is no output meanwhile. A longer one fails, with a hint when to try again. */
const MAX_PAUSE_MS = 10_000

/** The pause of a `Retry-After` header (seconds or a date) in milliseconds; 0 if it can't be read. */
export function parseRetryAfter(value: string | null | undefined): number {
  if (!value) return 0
  const asked = /^\s*\d+\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(asked) ? Math.max(0, asked) : 0
}

/** When to try again, as a hint; null without a pause. */
export function retryHint(pauseMs: number): string | null {
  if (pauseMs <= 0) return null
  const seconds = Math.ceil(pauseMs / 1000)
  return seconds <= 120 ? `Try again in ${seconds} s.` : `Try again in ${Math.ceil(seconds / 60)} minutes.`
}

export interface RetryOptions {
  attempts?: number
  /** Whether a retry may help. */
  retryable: (error: unknown) => boolean
  /** The pause that the service asked for; there is no retry if it exceeds ten seconds. */
  pauseMs?: (error: unknown) => number
  /** Ends a pause, and rejects with its reason. */
  signal?: AbortSignal | undefined
}

/** The one retry layer of everything that is not an AWS SDK, which has its own. */
export function withRetry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  return pRetry(work, {
    retries: (options.attempts ?? ATTEMPTS) - 1,
    minTimeout: MIN_DELAY_MS,
    randomize: true,
    signal: options.signal,
    // Here and not in onFailedAttempt, which also waits after the last attempt.
    async shouldRetry({ error }) {
      const pauseMs = options.pauseMs?.(error) ?? 0
      if (!options.retryable(error) || pauseMs > MAX_PAUSE_MS) return false
      if (pauseMs > 0) await pause(pauseMs, options.signal)
      return true
    },
  })
}

/** Without an error where the signal ends it: the retry that follows checks the signal. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises')
  await sleep(ms, undefined, { signal }).catch(() => {})
}
