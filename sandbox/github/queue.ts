/** GitHub's limit of `queue: max`. */
export const MAX_PENDING = 100

/** A place in a concurrency group. */
export interface Slot {
  /** Resolves with true at its turn, with false if it was cancelled or left before. */
  granted: Promise<boolean>
  /** Releases the place, or stops waiting. May be called again. */
  leave(): void
}

export interface SlotRequest {
  group: string
  cancelInProgress: boolean
  queue: 'single' | 'max'
  /** Asks the holder to stop; then the holder leaves. */
  cancel(reason: string): void
}

interface Entry {
  request: SlotRequest
  state: 'pending' | 'running' | 'gone'
  resolve(granted: boolean): void
}

/**
 * Concurrency groups like GitHub's: one runs and one waits. A newer waiting one cancels the older, unless `queue: max`
 * allows up to 100 to wait in their order.
 */
export class ConcurrencyGroups {
  readonly #groups = new Map<string, Entry[]>()
  readonly #maxPending: number

  constructor(maxPending = MAX_PENDING) {
    this.#maxPending = maxPending
  }

  /** Whether a request for this group would have to wait. */
  isBusy(group: string): boolean {
    return (this.#groups.get(group.toLowerCase()) ?? []).length > 0
  }

  enter(request: SlotRequest): Slot {
    const key = request.group.toLowerCase()
    const entries = this.#groups.get(key) ?? []
    this.#groups.set(key, entries)
    let resolve: (granted: boolean) => void = () => {}
    const granted = new Promise<boolean>((r) => {
      resolve = r
    })
    const entry: Entry = { request, state: 'pending', resolve }
    const leave = () => this.#leave(key, entry)
    const pending = entries.filter((e) => e.state === 'pending')
    if (request.queue === 'max' && pending.length >= this.#maxPending) {
      entry.state = 'gone'
      request.cancel(`Canceling since ${this.#maxPending} runs already wait for ${request.group}`)
      resolve(false)
      return { granted, leave }
    }
    entries.push(entry)
    const reason = `Canceling since a higher priority waiting request for ${request.group} exists`
    if (request.queue === 'single') {
      for (const older of pending) {
        this.#leave(key, older)
        older.request.cancel(reason)
      }
    }
    if (request.cancelInProgress) {
      for (const running of entries.filter((e) => e.state === 'running')) running.request.cancel(reason)
    }
    this.#advance(key)
    return { granted, leave }
  }

  #leave(key: string, entry: Entry): void {
    if (entry.state === 'gone') return
    if (entry.state === 'pending') entry.resolve(false)
    entry.state = 'gone'
    const entries = this.#groups.get(key) ?? []
    const index = entries.indexOf(entry)
    if (index >= 0) entries.splice(index, 1)
    this.#advance(key)
    if (this.#groups.get(key)?.length === 0) this.#groups.delete(key)
  }

  #advance(key: string): void {
    const entries = this.#groups.get(key) ?? []
    const next = entries[0]
    if (!next || entries.some((e) => e.state === 'running')) return
    next.state = 'running'
    next.resolve(true)
  }
}
