import pMap from 'p-map'
import type { Deploy, DeployDetail, DeployRecord, DeploySources } from '../../domain/contract/index.js'
import { formatRunTitle, parseRunTitle } from '../../domain/contract/order.js'
import { CURSOR_PATTERN, REQUEST_ID_PATTERN } from '../../domain/contract/patterns.js'
import {
  attemptId,
  deployOf,
  deployOfRecord,
  HISTORY_LOOKBACK,
  INDEX_PREFIX,
  indexKey,
  isWaiting,
  parseIndexKey,
  RECORD_PREFIX,
  type Run,
  withSteps,
} from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { nullOnOutage } from '../poll.js'
import { AT_ONCE, type Clock, type ObjectStore, type Runs } from '../ports.js'
import { type Claim, claimOf, LIST_LAGS_MS } from './claims.js'
import { readRecord } from './deployRecord.js'

export interface DeploysPorts {
  runs: Pick<Runs, 'list' | 'jobs'>
  /** Null without a bucket: hosts and the resolved AMI are then not known. */
  store: ObjectStore | null
  clock: Clock
}

/** The record, or null if there is none or no bucket. */
export async function recordOf(store: ObjectStore | null, requestId: string | undefined) {
  return store && requestId !== undefined && REQUEST_ID_PATTERN.test(requestId) ? readRecord(store, requestId) : null
}

export interface History {
  deploys: Deploy[]
  /** Cursor of the next page; null on the last. */
  next: string | null
  sources: DeploySources
}

/**
 * A page of the history, newest first: runs of the workflow, and deploys of the direct plane without a run. If GitHub does
 * not answer, it comes from the records; if S3 does not answer, from GitHub.
 * @param ports.runs null without a credential for GitHub
 * @param page.before cursor of the page before
 * @throws ClawctlError the outage, if neither answers
 */
export async function listDeploys(
  ports: Pick<DeploysPorts, 'store' | 'clock'> & { runs: Pick<Runs, 'list'> | null },
  page: { limit: number; before?: string },
): Promise<History> {
  const { store, clock } = ports
  const { limit } = page
  const cursor = page.before === undefined ? null : parseCursor(page.before)
  const outages: ClawctlError[] = []
  const addOutage = (error: ClawctlError) => void outages.push(error)
  const [runs, records] = await Promise.all([
    ports.runs && nullOnOutage(ports.runs.list(HISTORY_LOOKBACK, ...(cursor ? [new Date(cursor.at)] : [])), addOutage),
    store && nullOnOutage(newestRequests(store, limit + HISTORY_LOOKBACK, cursor), addOutage),
  ])
  const [outage] = outages
  if (outage && runs === null && records === null) throw outage
  const known = new Set(runs?.map(requestIdOf))
  const sorted = [
    ...(runs ?? []).map((run) => ({ at: Date.parse(run.createdAt), run, requestId: requestIdOf(run) })),
    ...(records ?? [])
      .filter(({ requestId }) => !known.has(requestId))
      .map((record) => ({ ...record, run: null as Run | null })),
  ]
    .map((one) => ({ ...one, runId: one.run?.id ?? 0, id: one.requestId ?? String(one.run?.id) }))
    .sort(byTime)
    .filter((one) => !cursor || byTime(cursor, one) < 0)
  const newest = sorted.slice(0, limit)
  let unread = records === null
  const unreadable = () => {
    unread = true
  }
  const read = async ({ run, requestId }: (typeof newest)[number]) => {
    const record = unread ? null : await nullOnOutage(recordOf(store, requestId), unreadable)
    return run ? deployOf(run, record, runs ?? []) : record && deployOfRecord(record, clock.now())
  }
  const deploys = (await pMap(newest, read, { concurrency: AT_ONCE })).filter((deploy) => deploy !== null)
  const last = newest.at(-1)
  // A full list of runs may have a further page.
  const goesOn = sorted.length > limit || runs?.length === HISTORY_LOOKBACK
  return {
    // Records older than the index were sorted by the age of their object.
    deploys: deploys.sort((a, b) => (b.createdAt ?? '').localeCompare(a.createdAt ?? '')),
    next: last && goesOn ? formatCursor(last) : null,
    sources: { runs: runs ? 'read' : 'unavailable', records: unread ? 'unavailable' : 'read' },
  }
}

type Place = { at: number; runId: number; id: string }

/** Newest first: GitHub's times have the precision of a second, and its ids grow. */
const byTime = (a: Place, b: Place) => b.at - a.at || b.runId - a.runId || a.id.localeCompare(b.id)

const formatCursor = ({ at, runId, id }: Place) => `${at}-${runId}-${id}`

/** @throws ClawctlError INVALID_REQUEST */
function parseCursor(text: string): Place {
  const [, at, runId, id] = CURSOR_PATTERN.exec(text) ?? []
  if (id !== undefined) return { at: Number(at), runId: Number(runId), id }
  throw new ClawctlError('INVALID_REQUEST', 'The cursor is not the `next` of a page of the history.', {
    hint: 'Use the `next` of the page before, unchanged.',
  })
}

/** Records from before there was an index; further ones are only found by their request ids. */
const MAX_UNINDEXED = 3_000

/** The request ids of the newest records with their times: from the index, for older records from their objects. */
async function newestRequests(
  store: ObjectStore,
  count: number,
  cursor: Place | null,
): Promise<{ requestId: string; at: number }[]> {
  // Includes all entries of the cursor's millisecond: the id decides their order.
  const after = cursor ? { after: indexKey(new Date(cursor.at + 1).toISOString(), '') } : {}
  const indexed = (await store.list(INDEX_PREFIX, { atMost: count, ...after })).flatMap(
    ({ key }) => parseIndexKey(key) ?? [],
  )
  const found = new Map(indexed.reverse().map(({ requestId, at }) => [requestId, at]))
  if (indexed.length < count) {
    for (const { key, modifiedAt } of await store.list(RECORD_PREFIX, { atMost: MAX_UNINDEXED, flat: true })) {
      const requestId = key.slice(RECORD_PREFIX.length).replace(/\.json$/, '')
      if (!found.has(requestId)) found.set(requestId, modifiedAt.getTime())
    }
  }
  return [...found].map(([requestId, at]) => ({ requestId, at }))
}

/** The last deploy of a host is among these, or very old. */
const LAST_DEPLOYS = 50

/** The records of the last 50 deploys, newest first. */
export async function newestRecords(store: ObjectStore): Promise<DeployRecord[]> {
  const requests = (await newestRequests(store, LAST_DEPLOYS, null)).sort((a, b) => b.at - a.at).slice(0, LAST_DEPLOYS)
  const read = ({ requestId }: (typeof requests)[number]) => recordOf(store, requestId)
  const records = await pMap(requests, read, { concurrency: AT_ONCE })
  return records.filter((record) => record !== null).sort((a, b) => b.createdAt.localeCompare(a.createdAt))
}

/**
 * One deploy. If GitHub does not answer, it comes from the record; if S3 does not answer, from the run. The id of a request
 * that joined a queued deploy leads to that deploy, by its claim.
 * @throws ClawctlError NOT_FOUND; the outage, if the service that failed may be the only one that knows the deploy
 */
export async function getDeploy(
  ports: DeploysPorts,
  requestId: string,
): Promise<{ deploy: DeployDetail; sources: DeploySources }> {
  const outages: ClawctlError[] = []
  const addOutage = (error: ClawctlError) => void outages.push(error)
  const runs = await nullOnOutage(ports.runs.list(HISTORY_LOOKBACK), addOutage)
  const run = runs?.find((one) => [requestIdOf(one), titleId(one), String(one.id)].includes(requestId))
  const known = await detailOf((run && requestIdOf(run)) ?? requestId, run, runs, ports, addOutage)
  if (known) return known
  // CI's role may not read claims, and its requests never join a queued deploy.
  const claimed = REQUEST_ID_PATTERN.test(requestId)
    ? await nullOnOutage(claimOf(requestId, ports.store), addOutage).catch(() => null)
    : null
  if (claimed?.run) {
    const { id, requestId: joined } = claimed.run
    const listed = runs?.find((one) => one.id === id)
    const its = await detailOf(joined, listed, runs, ports, addOutage)
    if (its) return its
    if (runs) {
      const deploy = await claimedDeploy(claimed, claimed.run, runs, ports)
      return { deploy: withSteps(deploy, []), sources: { runs: 'read', records: 'read' } }
    }
  }
  const [outage] = outages
  if (outage) throw outage
  throw new ClawctlError('NOT_FOUND', `There is no deploy with the request id ${JSON.stringify(requestId)}.`, {
    hint: 'See `clawctl fleet history` for the ids.',
  })
}

/** A deploy with its steps from run and record; null without both. */
async function detailOf(
  requestId: string,
  run: Run | undefined,
  runs: readonly Run[] | null,
  ports: DeploysPorts,
  addOutage: (error: ClawctlError) => void,
): Promise<{ deploy: DeployDetail; sources: DeploySources } | null> {
  const [found, jobs] = await Promise.all([
    nullOnOutage(
      recordOf(ports.store, requestId).then((record) => ({ record })),
      addOutage,
    ),
    // A queued run has no steps yet.
    run && !isWaiting(run) ? nullOnOutage(ports.runs.jobs(run.id)) : [],
  ])
  const sources: DeploySources = {
    runs: runs && jobs ? 'read' : 'unavailable',
    records: found ? 'read' : 'unavailable',
  }
  const record = found?.record ?? null
  if (run) return { deploy: withSteps(deployOf(run, record, runs ?? []), jobs ?? []), sources }
  return record && { deploy: withSteps(deployOfRecord(record, ports.clock.now()), []), sources }
}

/** The deploy of a claim. If neither list nor record has it: queued while GitHub's list may lag, else over. */
export async function claimedDeploy(
  { at, order = '' }: Claim,
  run: NonNullable<Claim['run']>,
  runs: readonly Run[],
  { store, clock }: DeploysPorts,
): Promise<Deploy> {
  const record = await recordOf(store, run.requestId)
  const listed = runs.find(({ id }) => id === run.id)
  if (listed) return deployOf(listed, record, runs)
  if (record) return deployOfRecord(record, clock.now())
  const asked = parseRunTitle(order)
  const title = asked ? formatRunTitle({ ...asked, requestId: run.requestId }) : order
  const there = newRun(title, run, new Date(at))
  const isOver = clock.now().getTime() - Date.parse(at) > LIST_LAGS_MS
  return deployOf(isOver ? { ...there, status: 'completed' } : there, null, runs)
}

/** A run that was started and that GitHub does not list yet. */
export function newRun(title: string, started: { id: number; url: string }, at: Date): Run {
  const now = at.toISOString()
  return {
    ...{ id: started.id, url: started.url, title, status: 'queued', conclusion: null },
    ...{ createdAt: now, startedAt: null, updatedAt: now },
  }
}

const titleId = (run: Run) => parseRunTitle(run.title)?.requestId

/** The request id of the run's newest attempt. */
function requestIdOf(run: Run): string | undefined {
  const requestId = titleId(run)
  return requestId === undefined ? undefined : attemptId(requestId, run.attempt)
}
