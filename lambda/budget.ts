import { ClawctlError } from '../src/lib/domain/errors.js'

/** A monotonic clock and a timer. */
export interface Timing {
  /** Milliseconds since some moment. */
  now(): number
  /** Calls `run` after `ms`, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
}

export const systemTiming: Timing = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

/** Time limit of a request: Lambda itself ends it at 30 s. */
export const ANSWER_BY_MS = 28_000
/** Kept for sending the answer after the last call upstream. */
const RESERVE_MS = 500
/** A call that changes something needs at least this: its answer must arrive within the request. */
const LEAST_FOR_A_CHANGE_MS = 1_500

/**
 * Time limit of one call, its retries, pauses and tokens included. docs/adr/0064 adds them up for the longest request,
 * and a test compares the sum with ANSWER_BY_MS.
 */
export const LIMITS_MS = { secrets: 2_500, github: 7_000, ec2: 4_500, s3: 3_000 } as const
/** A claim, its dispatch, and its release if GitHub refuses: all three must fit, or none is started. */
export const DISPATCH_MS = LIMITS_MS.s3 + LIMITS_MS.github + LEAST_FOR_A_CHANGE_MS

export type Service = keyof typeof NAMES
const NAMES = { github: 'GitHub', ec2: 'EC2', s3: 'S3' } as const

/** The time of one request, from its arrival. */
export class Budget {
  readonly #timing: Timing
  readonly #end: number

  constructor(timing: Timing = systemTiming, totalMs: number = ANSWER_BY_MS) {
    this.#timing = timing
    this.#end = timing.now() + totalMs
  }

  leftMs(): number {
    return Math.max(0, this.#end - this.#timing.now())
  }

  /**
   * Ends the call at its limit or at the end of the request's time. The service may still act on it.
   * @throws ClawctlError UPSTREAM if the service took too long, TIMED_OUT if no time is left to call it
   */
  async call<T>(service: Service, changes: boolean, work: () => Promise<T>): Promise<T> {
    const left = this.leftMs() - RESERVE_MS
    if (left < (changes ? LEAST_FOR_A_CHANGE_MS : 1)) throw timedOut()
    const limit = Math.min(LIMITS_MS[service], left)
    const seconds = Math.round(limit / 100) / 10
    return this.#cut(limit, work(), () => {
      return new ClawctlError('UPSTREAM', `${NAMES[service]} did not answer within ${seconds} s.`)
    })
  }

  /** @throws ClawctlError TIMED_OUT if calls that take so long together no longer fit */
  mustFit(ms: number): void {
    if (this.leftMs() - RESERVE_MS < ms) throw timedOut()
  }

  /** Limits the whole request. @throws ClawctlError TIMED_OUT; a deploy that was started goes on, and the same request id finds it */
  within<T>(work: Promise<T>): Promise<T> {
    return this.#cut(this.leftMs(), work, timedOut)
  }

  /** Waits for the work, at most `ms` milliseconds; the work goes on. */
  async wait(ms: number, work: Promise<unknown> = new Promise(() => {})): Promise<void> {
    let cancel = () => {}
    const timeUp = new Promise<void>((resolve) => {
      cancel = this.#timing.after(Math.min(ms, this.leftMs()), resolve)
    })
    await Promise.race([work, timeUp]).finally(() => cancel())
  }

  async #cut<T>(ms: number, work: Promise<T>, failure: () => ClawctlError): Promise<T> {
    let cancel = () => {}
    const tooLong = new Promise<never>((_resolve, reject) => {
      cancel = this.#timing.after(ms, () => reject(failure()))
    })
    // After the time limit no code waits for it: its failure must not become an unhandled rejection.
    work.catch(() => {})
    return Promise.race([work, tooLong]).finally(() => cancel())
  }
}

function timedOut(): ClawctlError {
  return new ClawctlError('TIMED_OUT', 'GitHub and AWS took too long to answer.', {
    hint: 'Try again in a minute; for a deploy, use the same request id.',
  })
}
