import { setMaxListeners } from 'node:events'
import { ClawctlError } from '../domain/errors.js'
import type { Clock } from '../ops/ports.js'

/** The machine's own time. The signal, asked for with the first sleep, cuts every sleep short. */
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
 * Aborted by the first SIGINT or SIGTERM, so that work under way can be put in order. A second SIGINT ends the process;
 * a SIGTERM after it does not: GitHub sends one 7.5 s after its SIGINT, and OpenTofu may still be writing its state.
 */
export function abortOnSignals(): AbortSignal {
  const abort = new AbortController()
  // Everything that is under way listens, dozens of parts at once: that is no leak.
  setMaxListeners(0, abort.signal)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Not `once`: another listener would believe itself the only one, and end the process.
    process.on(signal, () => {
      if (abort.signal.aborted && signal === 'SIGINT') process.exit(130)
      abort.abort()
    })
  }
  return abort.signal
}
