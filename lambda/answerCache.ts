import { HEARTBEAT_PREFIX } from '../src/lib/domain/bundles/manifest.js'
import { deployRecordSchema } from '../src/lib/domain/contract/index.js'
import { FREEZE_KEY } from '../src/lib/domain/deploy/freeze.js'
import { INDEX_PREFIX, isOver, RECORD_PREFIX } from '../src/lib/domain/deploy/run.js'
import { parseAs } from '../src/lib/domain/json.js'
import type { Clock, ObjectStore } from '../src/lib/ops/ports.js'
import type { LambdaPorts } from './context.js'

/** Two pages of the history. */
const MAX_RECORDS = 200

/**
 * Caches answers for a few seconds within one execution environment. Concurrent requests share one call. A failure is
 * returned to the requests that wait for it and is not cached.
 */
export class AnswerCache {
  readonly #clock: Pick<Clock, 'now'>
  readonly #reuseMs: number
  readonly #answers = new Map<string, { at: number; answer: Promise<unknown> }>()
  readonly #endedRecords = new Map<string, Stored>()

  /** @param reuseMs how long an answer is reused */
  constructor(clock: Pick<Clock, 'now'>, reuseMs: number) {
    this.#clock = clock
    this.#reuseMs = reuseMs
  }

  /** @param key must not contain anything that a request can choose freely: the cache has no size limit */
  get<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const now = this.#clock.now().getTime()
    const known = this.#answers.get(key)
    if (known && now - known.at < this.#reuseMs) return known.answer as Promise<T>
    const answer = ask()
    const entry = { at: now, answer }
    this.#answers.set(key, entry)
    answer.catch(() => {
      if (this.#answers.get(key) === entry) this.#answers.delete(key)
    })
    return answer
  }

  /** The record of a deploy that is over does not change, so it is cached without a time limit. */
  async record(key: string, read: ObjectStore['get']): Promise<Stored> {
    const known = this.#endedRecords.get(key)
    if (known) return known
    const object = await read(key)
    if (object && hasEnded(object.text)) {
      if (this.#endedRecords.size >= MAX_RECORDS) this.#endedRecords.clear()
      this.#endedRecords.set(key, object)
    }
    return object
  }

  clear(): void {
    this.#answers.clear()
  }
}

type Stored = Awaited<ReturnType<ObjectStore['get']>>

function hasEnded(text: string): boolean {
  const record = parseAs(deployRecordSchema, text)
  return record !== null && isOver(record) && record.finishedAt !== null
}

/** Ports with cached answers, for requests that only read. Deploys are decided on `current()` ports. */
export function cachedPorts(ports: LambdaPorts, cache: AnswerCache): LambdaPorts {
  const { compute, store, runs, registry, github } = ports
  return {
    ...ports,
    compute: {
      ...compute,
      describeHosts: () => cache.get('hosts', compute.describeHosts),
      fleetImages: () => cache.get('images', compute.fleetImages),
    },
    store: store && {
      ...store,
      get: (key) => {
        if (key.startsWith(RECORD_PREFIX)) return cache.record(key, store.get)
        return key.startsWith(HEARTBEAT_PREFIX) || key === FREEZE_KEY
          ? cache.get(key, () => store.get(key))
          : store.get(key)
      },
      // A later page of the history begins anywhere.
      list: (prefix, options) =>
        (prefix === HEARTBEAT_PREFIX || prefix === INDEX_PREFIX) && options?.after === undefined
          ? cache.get(`${prefix} ${options?.atMost ?? ''}`, () => store.list(prefix, options))
          : store.list(prefix, options),
    },
    runs: {
      ...runs,
      list: (limit, before) => (before ? runs.list(limit, before) : cache.get(`runs ${limit}`, () => runs.list(limit))),
    },
    registry: { read: () => cache.get('registry', registry.read) },
    github: {
      site: () => cache.get('site', github.site),
      repository: () => cache.get('repository', github.repository),
      workflow: () => cache.get('workflow', github.workflow),
    },
  }
}
