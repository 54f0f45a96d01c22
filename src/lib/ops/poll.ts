import { asClawctlError, type ClawctlError } from '../domain/errors.js'
import type { Clock, Progress } from './ports.js'

const FIRST_MS = 500

export type Look<T> = { done: T } | { wait: string }

export interface PollOptions {
  clock: Clock
  timeoutMs: number
  /** The longest pause between two attempts. */
  longestMs: number
  /** The first pause, if the result may come quickly. */
  firstMs?: number
  /** Called before each pause with the reason for it. */
  onWait?(reason: string): void
  /** How long attempts may fail in a row before polling gives up. Default: until the time limit. */
  outageMs?: number
  /** Which failures of an attempt are ignored. */
  isPassing?(error: ClawctlError): boolean
}

/** A service that is unavailable after its own retries. */
export const isOutage = ({ code }: ClawctlError) => code === 'UPSTREAM' || code === 'RATE_LIMITED'

/** Null if the service does not answer: for results that are useful without it. */
export async function nullOnOutage<T>(
  work: Promise<T>,
  onOutage: (error: ClawctlError) => void = () => {},
): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    const known = asClawctlError(error)
    if (!isOutage(known) && known.code !== 'TIMED_OUT') throw error
    onOutage(known)
    return null
  }
}

/** Polls until there is a result or the time is up; then returns the last reason for waiting. */
export async function poll<T>(
  options: PollOptions,
  attempt: () => Promise<Look<T>>,
): Promise<{ done: T } | { timedOut: string }> {
  const { clock } = options
  const isPassing = options.isPassing ?? isOutage
  const deadline = clock.now().getTime() + options.timeoutMs
  let lastSeen = clock.now().getTime()
  for (let pause = options.firstMs ?? FIRST_MS; ; pause = Math.min(pause * 1.5, options.longestMs)) {
    let reason: string
    try {
      const seen = await attempt()
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

/** How long after its creation a resource may be unknown to the service: EC2 and EBS are eventually consistent. */
export const YOUNG_MS = 120_000
const MAX_YOUNG_PAUSE_MS = 10_000

/** Whether the service answered that the resource does not exist. */
export function isNotFound(error: unknown): boolean {
  const { name } = ((error as Error).cause ?? {}) as Partial<Error>
  return /NotFound(?:Exception)?$|^InvalidConversionTaskId/.test(name ?? '')
}

/**
 * Runs a call on a new resource, and repeats it while the service does not know the resource yet: up to two minutes after
 * `bornAt`, by default now.
 * @throws ClawctlError the last NotFound after that time, and every other failure immediately
 */
export async function whileYoung<T>(
  { clock, progress }: { clock: Clock; progress: Pick<Progress, 'note'> },
  resource: { id: string; bornAt?: Date },
  work: () => Promise<T>,
): Promise<T> {
  const age = clock.now().getTime() - (resource.bornAt ?? clock.now()).getTime()
  let last: unknown
  let noted = false
  const result = await poll<T>(
    {
      clock,
      timeoutMs: YOUNG_MS - age,
      longestMs: MAX_YOUNG_PAUSE_MS,
      isPassing: isNotFound,
      onWait() {
        if (!noted) progress.note(`AWS does not show ${resource.id} everywhere yet; retrying for up to two minutes.`)
        noted = true
      },
    },
    async () => {
      try {
        return { done: await work() }
      } catch (error) {
        last = error
        throw error
      }
    },
  )
  if ('done' in result) return result.done
  throw last
}

/** Polls until something is found or the time is up. One answer "not found" is not enough: AWS is eventually consistent. */
export async function untilSeen<T>(
  clock: Clock,
  timeoutMs: number,
  look: () => Promise<T | null | undefined>,
): Promise<T | null> {
  const result = await poll<T>({ clock, timeoutMs, longestMs: MAX_YOUNG_PAUSE_MS }, async () => {
    const seen = await look()
    return seen === null || seen === undefined ? { wait: 'not found' } : { done: seen }
  })
  return 'done' in result ? result.done : null
}
