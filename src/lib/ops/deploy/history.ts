import type { History } from './deploys.js'
import type { Plane } from './plane.js'

/** The largest page of a request. */
const PAGE = 100

/** The newest deploys, from as many pages as needed. `next` is the cursor of older ones, or null. */
export async function readHistory(
  plane: Pick<Plane, 'history'>,
  { limit, before }: { limit: number; before?: string },
): Promise<History> {
  const all: History = { deploys: [], next: before ?? null, sources: { runs: 'read', records: 'read' } }
  do {
    const size = Math.min(PAGE, limit - all.deploys.length)
    const page = await plane.history({ limit: size, ...(all.next === null ? {} : { before: all.next }) })
    all.deploys.push(...page.deploys)
    // One page without a source makes the whole answer incomplete.
    const { runs, records } = page.sources
    if (runs === 'unavailable') all.sources.runs = runs
    if (records === 'unavailable') all.sources.records = records
    all.next = page.next
  } while (all.next !== null && all.deploys.length < limit)
  return all
}
