import { asClawctlError } from '../src/lib/domain/errors.js'
import type { Budget, Service } from './budget.js'

/** Methods of the ports that change something. */
const CHANGES = new Set(['dispatch', 'cancel', 'put', 'putIf', 'delete'])
const FAILURES = new Set(['UPSTREAM', 'RATE_LIMITED', 'DENIED'])

/** Counts and times the calls of one request to each service. A call includes its retries and pages. */
export class Meter {
  readonly #spent = new Map<Service, { count: number; ms: number; failed: number }>()
  readonly #budget: Budget

  /** @param budget ends each call at its time limit */
  constructor(budget: Budget) {
    this.#budget = budget
  }

  /** Wraps the port: each method is timed and limited. */
  measure<T extends object>(service: Service, port: T): T {
    const timed =
      (name: string, method: (...args: unknown[]) => Promise<unknown>) =>
      async (...args: unknown[]) => {
        const started = performance.now()
        let failed = 0
        try {
          return await this.#budget.call(service, CHANGES.has(name), () => method(...args))
        } catch (error) {
          if (FAILURES.has(asClawctlError(error).code)) failed = 1
          throw error
        } finally {
          const spent = this.#spent.get(service) ?? { count: 0, ms: 0, failed: 0 }
          this.#spent.set(service, {
            count: spent.count + 1,
            ms: spent.ms + performance.now() - started,
            failed: spent.failed + failed,
          })
        }
      }
    const members = Object.entries(port).map(([name, member]) => [
      name,
      typeof member === 'function' ? timed(name, member) : member,
    ])
    return Object.fromEntries(members) as T
  }

  /** The number of failed calls of each service that has any. */
  get failures(): ReadonlyMap<Service, number> {
    return new Map([...this.#spent].flatMap(([name, { failed }]) => (failed > 0 ? [[name, failed]] : [])))
  }

  /** For the log; undefined if no service was called. */
  get upstream(): Record<string, { count: number; ms: number; failed?: number }> | undefined {
    if (this.#spent.size === 0) return undefined
    return Object.fromEntries(
      [...this.#spent].map(([name, { count, ms, failed }]) => [
        name,
        { count, ms: Math.round(ms), ...(failed > 0 ? { failed } : {}) },
      ]),
    )
  }
}
