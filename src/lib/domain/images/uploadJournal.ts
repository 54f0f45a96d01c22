import * as z from 'zod/mini'
import { parseJson } from '../json.js'

/** A line of a direct upload's journal; the index of a block that was stored is a line of its own, as a bare number. */
const entrySchema = z.union([
  /** Before StartSnapshot: whoever is killed before its answer asks for the same snapshot again. */
  z.object({ token: z.string(), parent: z.nullable(z.string()) }),
  z.object({ snapshot: z.string(), encrypted: z.boolean() }),
  /** CompleteSnapshot went through. */
  z.object({ sealed: z.literal(true) }),
])
export type JournalEntry = z.infer<typeof entrySchema>

export interface UploadState {
  token: string
  /** As it was written. */
  parent: string | null
  sealed: boolean
  started: { snapshot: string; encrypted: boolean; stored: Set<number> } | null
}

/** What a journal says; null where it says nothing, or nothing that can be relied on. */
export function readJournal(lines: readonly string[]): UploadState | null {
  let state: UploadState | null = null
  for (const line of lines) {
    if (/^\d+$/.test(line)) {
      state?.started?.stored.add(Number(line))
      continue
    }
    const entry = entrySchema.safeParse(parseJson(line))
    // A line that a kill cut off: what came before it holds.
    if (!entry.success) continue
    if ('token' in entry.data) state = { ...entry.data, started: null, sealed: false }
    else if ('sealed' in entry.data) {
      if (state) state.sealed = true
    } else if (state) state.started = { ...entry.data, stored: new Set() }
  }
  return state
}
