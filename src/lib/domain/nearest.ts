import { closest, distance } from 'fastest-levenshtein'

/**
 * The candidate closest to the word, or null if none is close.
 * A third of the word's length in edits (at least two) keeps `clawdinator-1` from suggesting `other-host`.
 */
export function nearest(word: string, candidates: readonly string[]): string | null {
  if (candidates.length === 0) return null
  const lower = word.toLowerCase()
  const best = closest(lower, [...candidates])
  return distance(lower, best) <= Math.max(2, Math.floor(best.length / 3)) ? best : null
}
