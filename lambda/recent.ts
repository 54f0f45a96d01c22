import { HEARTBEAT_PREFIX } from '../src/lib/domain/bundles/manifest.js'
import { deployRecordSchema } from '../src/lib/domain/contract/index.js'
import { FREEZE_KEY } from '../src/lib/domain/deploy/freeze.js'
import { INDEX_PREFIX, isOver, RECORD_PREFIX } from '../src/lib/domain/deploy/run.js'
import { parseJson } from '../src/lib/domain/json.js'
import type { Clock, ObjectStore } from '../src/lib/ops/ports.js'
import type { LambdaPorts } from './context.js'

/** Two pages of the history. */
const MOST_RECORDS = 200

/**
 * Answers of the last moments, within one execution environment: who asks at the same time shares one call, and a
 * failure is nobody's answer but theirs who waited for it.
 */
export class Recent {
  readonly #clock: Pick<Clock, 'now'>
  readonly #reuseMs: number
  readonly #answers = new Map<string, { at: number; answer: Promise<unknown> }>()
  readonly #endedRecords = new Map<string, Stored>()

  /** @param reuseMs followers ask every second or so: a picture of two seconds is still the present to them */
  constructor(clock: Pick<Clock, 'now'>, reuseMs: number) {
    this.#clock = clock
    this.#reuseMs = reuseMs
  }

  /** @param key one of few: nothing that a request may choose freely */
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

  /** The record of a deploy that has ended is written no more: it is read once. */
  async record(key: string, read: ObjectStore['get']): Promise<Stored> {
    const known = this.#endedRecords.get(key)
    if (known) return known
    const object = await read(key)
    if (object && hasEnded(object.text)) {
      if (this.#endedRecords.size >= MOST_RECORDS) this.#endedRecords.clear()
      this.#endedRecords.set(key, object)
    }
    return object
  }

  /** What was known is over: a deploy was asked. */
  clear(): void {
    this.#answers.clear()
  }
}

type Stored = Awaited<ReturnType<ObjectStore['get']>>

function hasEnded(text: string): boolean {
  const parsed = deployRecordSchema.safeParse(parseJson(text))
  return parsed.success && isOver(parsed.data) && parsed.data.finishedAt !== null
}

/** The ports as those see them who only want to know how things stand. No deploy is decided on them. */
export function recentPorts(ports: LambdaPorts, recent: Recent): LambdaPorts {
  const { compute, store, runs, registry, github } = ports
  return {
    ...ports,
    compute: {
      ...compute,
      describeHosts: () => recent.get('hosts', compute.describeHosts),
      fleetImages: () => recent.get('images', compute.fleetImages),
    },
    store: store && {
      ...store,
      get: (key) => {
        if (key.startsWith(RECORD_PREFIX)) return recent.record(key, store.get)
        return key.startsWith(HEARTBEAT_PREFIX) || key === FREEZE_KEY
          ? recent.get(key, () => store.get(key))
          : store.get(key)
      },
      list: (prefix, options) =>
        prefix === HEARTBEAT_PREFIX || prefix === INDEX_PREFIX
          ? recent.get(`${prefix} ${options?.atMost ?? ''}`, () => store.list(prefix, options))
          : store.list(prefix, options),
    },
    runs: {
      ...runs,
      list: (limit, before) =>
        before ? runs.list(limit, before) : recent.get(`runs ${limit}`, () => runs.list(limit)),
    },
    registry: { read: () => recent.get('registry', registry.read) },
    github: {
      site: () => recent.get('site', github.site),
      repository: () => recent.get('repository', github.repository),
      workflow: () => recent.get('workflow', github.workflow),
    },
  }
}
