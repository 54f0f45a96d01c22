import type { History } from './deploys.js'
import type { Plane } from './plane.js'

/** What one request may hold. */
const PAGE = 100

/** The newest deploys, page by page. `next` is where it goes on, or null where nothing is older. */
export async function readHistory(
  plane: Pick<Plane, 'history'>,
  { limit, before }: { limit: number; before?: string },
): Promise<History> {
  const all: History = { deploys: [], next: before ?? null, sources: { runs: 'read', records: 'read' } }
  do {
    const size = Math.min(PAGE, limit - all.deploys.length)
    const page = await plane.history({ limit: size, ...(all.next === null ? {} : { before: all.next }) })
    all.deploys.push(...page.deploys)
    // An older page without records says nothing for the one before that had them.
    const { runs, records } = page.sources
    if (runs === 'unavailable') all.sources.runs = runs
    if (records === 'unavailable') all.sources.records = records
    all.next = page.next
  } while (all.next !== null && all.deploys.length < limit)
  return all
}
