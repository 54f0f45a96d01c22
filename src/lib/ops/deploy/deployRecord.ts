import { type DeployHost, type DeployRecord, deployRecordSchema } from '../../domain/contract/index.js'
import { indexKey, recordKey } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseAs } from '../../domain/json.js'
import type { ObjectStore } from '../ports.js'
import type { RunLookup } from './ports.js'

export async function readRecord(store: ObjectStore, requestId: string): Promise<DeployRecord | null> {
  return parseAs(deployRecordSchema, (await store.get(recordKey(requestId)))?.text)
}

/** The run of a record; null if it has none or GitHub can't be read. */
export const findRun = async ({ runId }: Pick<DeployRecord, 'runId'>, runs: RunLookup | null) =>
  runId === null || runs === null ? null : runs.find(runId).catch(() => null)

/** True after a write whose answer was lost, and if the same run's job started again. */
async function isOwn(store: ObjectStore, record: DeployRecord): Promise<boolean> {
  const there = await readRecord(store, record.requestId)
  return (
    there !== null && there.runId === record.runId && (there.runId !== null || there.createdAt === record.createdAt)
  )
}

/** Writes the deploy's record to S3 at every step, for followers and for the case that the runner dies. */
export class RecordKeeper {
  readonly #store: ObjectStore
  readonly #onError: (error: unknown) => void
  #record: DeployRecord
  #writing: Promise<void> = Promise.resolve()

  private constructor(store: ObjectStore, record: DeployRecord, onError: (error: unknown) => void) {
    this.#store = store
    this.#record = record
    this.#onError = onError
  }

  /**
   * Rejects if the first write fails: a deploy that can't be followed is not started.
   * @throws ClawctlError REQUEST_CONFLICT if another run wrote the record
   */
  static async begin(
    store: ObjectStore,
    record: DeployRecord,
    onError: (error: unknown) => void,
  ): Promise<RecordKeeper> {
    const keeper = new RecordKeeper(store, record, onError)
    // The index entry is written first: readers skip an entry without a record, but find a record without an entry only
    // by its id.
    await store.put(indexKey(record.createdAt, record.requestId), '{}')
    const key = recordKey(record.requestId)
    if (!(await store.putIf(key, JSON.stringify(record), null)) && !(await isOwn(store, record))) {
      throw new ClawctlError('REQUEST_CONFLICT', `The request id ${record.requestId} has the record of another run.`, {
        hint: 'Deploy again with a new request id.',
      })
    }
    return keeper
  }

  get record(): DeployRecord {
    return this.#record
  }

  /** Adds the hosts of the deploy. */
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

  /** A failed write is reported and does not stop the rollout. */
  async update(change: Partial<DeployRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change }
    try {
      await this.#write()
    } catch (error) {
      this.#onError(error)
    }
  }

  /** In order: a later write must not be overwritten by an earlier one. */
  #write(): Promise<void> {
    const write = () => this.#store.put(recordKey(this.#record.requestId), JSON.stringify(this.#record))
    const written = this.#writing.then(write)
    this.#writing = written.catch(() => {})
    return written
  }
}
