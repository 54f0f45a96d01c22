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
