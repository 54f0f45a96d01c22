import type { Clock } from '../ports.js'

/** A line a second is news; a thousand are noise, in a CI log most of all. */
const EVERY_MS = 1000

/** Says at most one thing a second, and the first only after one. */
export function sparing(clock: Clock, say: (text: string) => void): (text: () => string) => void {
  let last = clock.now().getTime()
  return (text) => {
    const now = clock.now().getTime()
    if (now - last < EVERY_MS) return
    last = now
    say(text())
  }
}
