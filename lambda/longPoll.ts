import { createHash } from 'node:crypto'
import type { DeployDetail } from '../src/lib/domain/contract/index.js'
import { isOver } from '../src/lib/domain/deploy/run.js'
import type { Budget } from './budget.js'

/** The longest that an answer is held; what a connection without a byte survives nearly everywhere is 30 s and more. */
export const MAX_WAIT_SECONDS = 25
/** A step takes seconds at least; two requests to GitHub each time. */
const EVERY_MS = 3_000
/** The answer itself has to be sent in time. */
const MARGIN_MS = 1_000
const VERSION_LENGTH = 16
export const VERSION_PATTERN = /^[0-9a-f]{16}$/

interface Seen {
  deploy: DeployDetail
}
type Versioned<T> = T & { version: string }

/**
 * The deploy as soon as it is another than the caller has seen, or after so many seconds as it is. One that is over is
 * not held: nothing of it will change.
 */
export async function changed<T extends Seen>(
  look: () => Promise<T>,
  { wait = 0, seen }: { wait?: number | undefined; seen?: string | undefined },
  budget: Budget,
): Promise<Versioned<T>> {
  let last = versioned(await look())
  const known = seen ?? last.version
  const stopAt = Math.max(budget.leftMs() - wait * 1000, MARGIN_MS)
  const left = () => budget.leftMs() - stopAt
  while (last.version === known && !isOver(last.deploy) && left() > 0) {
    await budget.wait(Math.min(EVERY_MS, left()))
    if (left() <= 0) break
    // A look that fails or takes too long says nothing new.
    const looking = look().then(
      (found) => {
        last = versioned(found)
      },
      () => {},
    )
    await budget.wait(left(), looking)
  }
  return last
}

function versioned<T extends Seen>(found: T): Versioned<T> {
  const digest = createHash('sha256').update(JSON.stringify(found.deploy)).digest('hex')
  return { ...found, version: digest.slice(0, VERSION_LENGTH) }
}
