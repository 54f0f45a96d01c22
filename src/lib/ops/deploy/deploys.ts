import pMap from 'p-map'
import type { Deploy, DeployDetail } from '../../domain/contract/index.js'
import { parseRunTitle } from '../../domain/contract/order.js'
import { REQUEST_ID_PATTERN } from '../../domain/contract/patterns.js'
import {
  attemptId,
  deployOf,
  deployOfRecord,
  HISTORY_LOOKBACK,
  INDEX_PREFIX,
  parseIndexKey,
  RECORD_PREFIX,
  type Run,
  withSteps,
} from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { AT_ONCE, type Clock, type ObjectStore, type Runs } from '../ports.js'
import { readRecord } from './deployRecord.js'

export interface DeploysPorts {
  runs: Pick<Runs, 'list' | 'jobs'>
  /** Null where no bucket is configured: hosts and the resolved AMI are then not known. */
  store: ObjectStore | null
  clock: Clock
}

/** The run's own record, or null where there is none or nowhere to look. */
export async function recordOf(store: ObjectStore | null, requestId: string | undefined) {
  return store && requestId !== undefined && REQUEST_ID_PATTERN.test(requestId) ? readRecord(store, requestId) : null
}

/** The audit trail, newest first: the workflow's runs, and what ran on the direct plane without one. */
export async function listDeploys(ports: DeploysPorts, limit: number): Promise<Deploy[]> {
  const { store } = ports
  const [runs, records] = await Promise.all([
    ports.runs.list(HISTORY_LOOKBACK),
    store ? newestRecords(store, limit + HISTORY_LOOKBACK) : [],
  ])
  const known = new Set(runs.map(requestIdOf))
  const newest = [
    ...runs.map((run) => ({ at: Date.parse(run.createdAt), run, requestId: requestIdOf(run) })),
    ...records.filter(({ requestId }) => !known.has(requestId)).map((record) => ({ ...record, run: null })),
  ]
    .sort((a, b) => b.at - a.at)
    .slice(0, limit)
  const read = async ({ run, requestId }: (typeof newest)[number]) => {
    const record = await recordOf(store, requestId)
    return run ? deployOf(run, record, runs) : record && deployOfRecord(record, ports.clock.now())
  }
  const deploys = (await pMap(newest, read, { concurrency: AT_ONCE })).filter((deploy) => deploy !== null)
  return deploys.sort((a, b) => (b.createdAt ?? '').localeCompare(a.createdAt ?? ''))
}

/** Records were written before there was an index; beyond so many, only their request ids lead to them. */
const MOST_UNINDEXED = 3_000

/** When the newest records were made, by the names of the index; what is older than the index, by the records' own age. */
async function newestRecords(store: ObjectStore, count: number): Promise<{ requestId: string; at: number }[]> {
  const indexed = (await store.list(INDEX_PREFIX, { atMost: count })).flatMap(({ key }) => parseIndexKey(key) ?? [])
  const found = new Map(indexed.reverse().map(({ requestId, at }) => [requestId, at]))
  if (indexed.length < count) {
    for (const { key, modifiedAt } of await store.list(RECORD_PREFIX, { atMost: MOST_UNINDEXED, flat: true })) {
      const requestId = key.slice(RECORD_PREFIX.length).replace(/\.json$/, '')
      if (!found.has(requestId)) found.set(requestId, modifiedAt.getTime())
    }
  }
  return [...found].map(([requestId, at]) => ({ requestId, at }))
}

/** @throws ClawctlError NOT_FOUND */
export async function getDeploy(ports: DeploysPorts, requestId: string): Promise<DeployDetail> {
  const runs = await ports.runs.list(HISTORY_LOOKBACK)
  const run = runs.find((one) => [requestIdOf(one), titleId(one), String(one.id)].includes(requestId))
  const [record, jobs] = await Promise.all([
    recordOf(ports.store, (run && requestIdOf(run)) ?? requestId),
    // One that waits has no steps yet.
    run && hasBegun(run) ? ports.runs.jobs(run.id) : [],
  ])
  if (run) return withSteps(deployOf(run, record, runs), jobs)
  if (record) return withSteps(deployOfRecord(record, ports.clock.now()), [])
  throw new ClawctlError('NOT_FOUND', `There is no deploy with the request id ${JSON.stringify(requestId)}.`, {
    hint: 'See `clawctl fleet history` for the ids.',
  })
}

const titleId = (run: Run) => parseRunTitle(run.title)?.requestId

/** The request id of the run's newest attempt. */
function requestIdOf(run: Run): string | undefined {
  const requestId = titleId(run)
  return requestId === undefined ? undefined : attemptId(requestId, run.attempt)
}

const hasBegun = ({ status }: Run) => status === 'in_progress' || status === 'completed'
