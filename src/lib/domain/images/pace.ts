/** Of one burst of refusals only the first counts: the others were under way already. */
const CUT_EVERY_MS = 500

/**
 * How many requests may be under way: halved when the service asks to slow down, one more for each round that went well
 * (additive increase, multiplicative decrease, as TCP has it).
 */
export class Pace {
  readonly #most: number
  #limit: number
  #lastCut = Number.NEGATIVE_INFINITY

  constructor(most: number) {
    this.#most = most
    this.#limit = most
  }

  get limit(): number {
    return Math.floor(this.#limit)
  }

  wentWell(): void {
    this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit)
  }

  /** `now` in milliseconds. */
  askedToSlowDown(now: number): void {
    if (now - this.#lastCut < CUT_EVERY_MS) return
    this.#lastCut = now
    this.#limit = Math.max(1, this.#limit / 2)
  }
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
/** With these pauses some 25 s of failures, or a minute of being asked to slow down, are sat out. */
const PASSING_TRIES = 9
const THROTTLED_TRIES = 15

/** The pause before the next try, or null where there should be none. `tries` were made, `random` is from 0 to 1. */
export function pauseAfter(kind: 'throttled' | 'passing', tries: number, random: number): number | null {
  if (tries >= (kind === 'throttled' ? THROTTLED_TRIES : PASSING_TRIES)) return null
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1))
  return full * (0.5 + random / 2)
}
