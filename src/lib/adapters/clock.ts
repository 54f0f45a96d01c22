import { setMaxListeners } from 'node:events'
import { ClawctlError } from '../domain/errors.js'
import type { Clock } from '../ops/ports.js'

/** The machine's time. The signal, read with the first sleep, ends every sleep early. */
export function systemClock(signal?: () => AbortSignal): Clock {
  return {
    now: () => new Date(),
    async sleep(ms) {
      const { setTimeout: sleep } = await import('node:timers/promises')
      try {
        await sleep(ms, undefined, { signal: signal?.() })
      } catch {
        throw new ClawctlError('CANCELLED', 'It was interrupted.')
      }
    },
  }
}

/**
 * Aborted by the first SIGINT or SIGTERM, so that running work can clean up. A second SIGINT ends the process;
 * a SIGTERM after it does not: GitHub sends one 7.5 s after its SIGINT, and OpenTofu may still be writing its state.
 */
export function abortOnSignals(): AbortSignal {
  const abort = new AbortController()
  // Many listeners are normal here (dozens of parts), not a leak.
  setMaxListeners(0, abort.signal)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Not `once`: another listener would then be the only one, and end the process.
    process.on(signal, () => {
      if (abort.signal.aborted && signal === 'SIGINT') process.exit(130)
      abort.abort()
    })
  }
  return abort.signal
}

/** How far a service's clock is ahead of ours, in milliseconds, by the `Date` of its answer; null without one. */
export function skewOf(date: string | undefined): number | null {
  const at = Date.parse(date ?? '')
  return Number.isNaN(at) ? null : at - Date.now()
}
