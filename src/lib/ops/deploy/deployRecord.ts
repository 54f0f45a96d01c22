import { type DeployHost, type DeployRecord, deployRecordSchema } from '../../domain/contract/index.js'
import { indexKey, recordKey } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'
import type { ObjectStore } from '../ports.js'

export async function readRecord(store: ObjectStore, requestId: string): Promise<DeployRecord | null> {
  const object = await store.get(recordKey(requestId))
  const parsed = deployRecordSchema.safeParse(object && parseJson(object.text))
  return parsed.success ? parsed.data : null
}

/** The write may have arrived and its answer not, or the job of the same run began once more. */
async function isOwn(store: ObjectStore, record: DeployRecord): Promise<boolean> {
  const there = await readRecord(store, record.requestId)
  return (
    there !== null && there.runId === record.runId && (there.runId !== null || there.createdAt === record.createdAt)
  )
}

/** The run's own account of a deploy, written to S3 at every step: what a follower sees, and what is left if the runner dies. */
export class RecordKeeper {
  readonly #store: ObjectStore
  readonly #onTrouble: (error: unknown) => void
  #record: DeployRecord
  #writing: Promise<void> = Promise.resolve()

  private constructor(store: ObjectStore, record: DeployRecord, onTrouble: (error: unknown) => void) {
    this.#store = store
    this.#record = record
    this.#onTrouble = onTrouble
  }

  /**
   * Rejects where the first write fails: a deploy that can't be followed is not begun.
   * @throws ClawctlError REQUEST_CONFLICT where the record is another run's, which nobody writes over
   */
  static async begin(
    store: ObjectStore,
    record: DeployRecord,
    onTrouble: (error: unknown) => void,
  ): Promise<RecordKeeper> {
    const keeper = new RecordKeeper(store, record, onTrouble)
    // First: an entry without its record is passed over, a record without its entry is found late.
    await store.put(indexKey(record.createdAt, record.requestId), '{}')
    const key = recordKey(record.requestId)
    if (!(await store.putIf(key, JSON.stringify(record), null)) && !(await isOwn(store, record))) {
      throw new ClawctlError('REQUEST_CONFLICT', `The request id ${record.requestId} has the record of another run.`, {
        hint: 'Ask again with a new request id: a record is written by its own run alone.',
      })
    }
    return keeper
  }

  get record(): DeployRecord {
    return this.#record
  }

  /** The hosts whose turn comes, as they are now, and those that are passed over. */
  async begun(
    hosts: readonly Pick<DeployHost, 'id' | 'previousAmi' | 'instanceId'>[],
    skipped: readonly DeployHost[] = [],
  ): Promise<void> {
    const untouched = { ami: null, step: null, reason: null, startedAt: null, finishedAt: null }
    const pending = hosts.map((host) => ({ ...host, ...untouched, outcome: 'pending' as const }))
    await this.update({ hosts: [...pending, ...skipped] })
  }

  async host(id: string, change: Partial<Omit<DeployHost, 'id'>>): Promise<void> {
    await this.update({ hosts: this.#record.hosts.map((host) => (host.id === id ? { ...host, ...change } : host)) })
  }

  /** Once hosts are being changed, a record that can't be written is reported and does not stop the rollout. */
  async update(change: Partial<DeployRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change }
    try {
      await this.#write()
    } catch (error) {
      this.#onTrouble(error)
    }
  }

  /** One after the other: what was said later must not be overwritten by what was said before. */
  #write(): Promise<void> {
    const write = () => this.#store.put(recordKey(this.#record.requestId), JSON.stringify(this.#record))
    const written = this.#writing.then(write)
    this.#writing = written.catch(() => {})
    return written
  }
}
