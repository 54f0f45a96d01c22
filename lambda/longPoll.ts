import { createHash } from 'node:crypto'
import type { DeployDetail } from '../src/lib/domain/contract/index.js'
import { isOver } from '../src/lib/domain/deploy/run.js'
import type { Budget } from './budget.js'

/** The longest that an answer is held: most networks close a silent connection after 30 s or more. */
export const MAX_WAIT_SECONDS = 25
/** Each read costs two requests to GitHub, and a step takes seconds. */
const INTERVAL_MS = 3_000
/** Kept for sending the answer. */
const MARGIN_MS = 1_000
const VERSION_LENGTH = 16
export const VERSION_PATTERN = /^[0-9a-f]{16}$/

interface Seen {
  deploy: DeployDetail
}
type Versioned<T> = T & { version: string }

/**
 * Returns the deploy as soon as it differs from what the caller has seen, or after `wait` seconds as it is. The answer
 * about a deploy that is over is never held.
 */
export async function waitForChange<T extends Seen>(
  read: () => Promise<T>,
  { wait = 0, seen }: { wait?: number | undefined; seen?: string | undefined },
  budget: Budget,
): Promise<Versioned<T>> {
  let last = versioned(await read())
  const known = seen ?? last.version
  const stopAt = Math.max(budget.leftMs() - wait * 1000, MARGIN_MS)
  const left = () => budget.leftMs() - stopAt
  while (last.version === known && !isOver(last.deploy) && left() > 0) {
    await budget.wait(Math.min(INTERVAL_MS, left()))
    if (left() <= 0) break
    // If a read fails or takes too long, the last answer stays.
    const reading = read().then(
      (found) => {
        last = versioned(found)
      },
      () => {},
    )
    await budget.wait(left(), reading)
  }
  return last
}

function versioned<T extends Seen>(found: T): Versioned<T> {
  const digest = createHash('sha256').update(JSON.stringify(found.deploy)).digest('hex')
  return { ...found, version: digest.slice(0, VERSION_LENGTH) }
}
