import type { Deploy, DeployDetail, DeployHost, DeployRecord, DeployStatus, Step } from '../contract/index.js'
import { orderOf, parseRunTitle, storeOrder } from '../contract/order.js'
import { REQUEST_ID_PATTERN } from '../contract/patterns.js'
import type { ErrorBody } from '../errors.js'

/** A run of the deploy workflow, from GitHub's API. */
export interface Run {
  id: number
  /** From 1; higher for a run that was started again. Absent: the first. */
  attempt?: number
  url: string
  /** GitHub's display_title: the workflow's run-name. */
  title: string
  status: 'queued' | 'pending' | 'waiting' | 'requested' | 'in_progress' | 'completed'
  conclusion: string | null
  createdAt: string
  startedAt: string | null
  updatedAt: string
}

export interface Job {
  name: string
  steps: { name: string; status: 'queued' | 'in_progress' | 'completed'; conclusion: string | null }[]
}

/** By id, because GitHub's times have a precision of one second. */
const byAge = (a: Run, b: Run) => a.id - b.id

export const isWaiting = ({ status }: Run) => status !== 'completed' && status !== 'in_progress'

/** The run that a queued one waits for: the running one, else the oldest one before it. */
export function runAhead(run: Run, runs: readonly Run[]): Run | null {
  if (!isWaiting(run)) return null
  return (
    runs
      .filter((other) => other.id !== run.id && other.status !== 'completed')
      .filter((other) => other.status === 'in_progress' || byAge(other, run) < 0)
      .sort((a, b) => (a.status === 'in_progress' ? -1 : b.status === 'in_progress' ? 1 : byAge(a, b)))[0] ?? null
  )
}

/** The place of a run among the queued ones, from 1; null if it is not queued. */
export function queuePositionOf(run: Run, runs: readonly Run[]): number | null {
  return isWaiting(run) ? 1 + runs.filter((other) => isWaiting(other) && byAge(other, run) < 0).length : null
}

/** From the start of the run to its end; null until it is over. */
function durationOf(startedAt: string | null, finishedAt: string | null): number | null {
  const ms = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '')
  return ms >= 0 ? ms : null
}

function statusOf(run: Run, record: DeployRecord | null): DeployStatus {
  if (run.status !== 'completed') return run.status === 'in_progress' ? 'running' : 'queued'
  if (run.conclusion === 'success') return record?.status === 'planned' ? 'planned' : 'succeeded'
  if (run.conclusion === 'cancelled') return 'cancelled'
  if (run.conclusion === 'timed_out') return 'timed-out'
  const { status } = record ?? {}
  return status === 'rolled-back' || status === 'kept' || status === 'cancelled' ? status : 'failed'
}

/** The hosts of a record that a lost runner could not finish: a host in progress did not succeed. */
function hostsOf(record: DeployRecord | null, over: boolean): DeployHost[] {
  const hosts = record?.hosts ?? []
  if (!over) return hosts
  return hosts.map((host) =>
    host.outcome === 'deploying'
      ? { ...host, outcome: 'failed', instanceId: null, step: null, reason: lostReason(host) }
      : host.outcome === 'pending'
        ? { ...host, outcome: 'skipped', ami: host.previousAmi }
        : host,
  )
}

/** The step in which the run was lost. */
const lostReason = ({ step }: DeployHost) =>
  `The run was lost${step ? ` in its step ${step.name}${step.clause ? `: ${step.clause}` : ''}` : ''}.`

/** What deploys lack without each of their sources. */
export const UNREAD_DEPLOYS = {
  runs: 'GitHub did not answer: the deploys are from the records.',
  records: 'S3 did not answer: hosts, reasons and older deploys are missing.',
} as const

const UNEXPLAINED = 'The run failed and reported no reason.'

function errorOf(status: DeployStatus, record: DeployRecord | null, url: string | null): ErrorBody | null {
  if (status === 'succeeded' || status === 'planned' || status === 'queued' || status === 'running') return null
  if (record?.error && status !== 'timed-out') return record.error
  const hint = url ? `Open the run: ${url}` : undefined
  if (status === 'cancelled') return { code: 'CANCELLED', message: 'The run was cancelled.', hint }
  if (status === 'timed-out')
    return { code: 'TIMED_OUT', message: 'The run took longer than the time limit of its job.', hint }
  const lost = record?.status === 'running' ? record.hosts.find((host) => host.outcome === 'deploying') : undefined
  if (lost) {
    return {
      code: 'DEPLOY_FAILED',
      message: `The run was lost while it deployed ${lost.id}.`,
      hint: `Check \`clawctl fleet status\` for ${lost.id}, then deploy it again: it resumes.`,
    }
  }
  return { code: 'DEPLOY_FAILED', message: UNEXPLAINED, hint }
}

/**
 * The request id of a run that was started again: with the attempt at its end, cut to the length of a request id. In
 * records and history it is a deploy of its own.
 */
export const attemptId = (requestId: string, attempt = 1) =>
  attempt > 1 ? `${requestId.slice(0, 60)}-r${attempt}` : requestId

/** One deploy from GitHub's run and the run's own record. The status is GitHub's. */
export function deployOf(run: Run, record: DeployRecord | null, runs: readonly Run[]): Deploy {
  const order = parseRunTitle(run.title) ?? { requestId: String(run.id), target: record?.target ?? 'unknown' }
  const status = statusOf(run, record)
  const holder = runAhead(run, runs)
  const holderTitle = holder && parseRunTitle(holder.title)
  const over = run.status === 'completed'
  return {
    ...storeOrder({ ...order, requestId: attemptId(order.requestId, run.attempt) }),
    ami: record?.ami ?? order.amiOverride ?? null,
    status,
    waitsFor: holder && {
      requestId: holderTitle?.requestId ?? String(holder.id),
      target: holderTitle?.target ?? 'unknown',
      runId: holder.id,
    },
    queuePosition: queuePositionOf(run, runs),
    runId: run.id,
    runUrl: run.url,
    createdAt: run.createdAt,
    startedAt: run.status === 'in_progress' || over ? run.startedAt : null,
    finishedAt: over ? run.updatedAt : null,
    durationMs: over ? durationOf(run.startedAt, run.updatedAt) : null,
    hosts: hostsOf(record, over),
    error: errorOf(status, record, run.url),
  }
}

/** The deploy role's credentials and the workflow's job end after two hours. */
export const LOST_AFTER_MS = 2 * 60 * 60_000

/**
 * Whether a record that still has `running` belongs to a run that is over, or was started again since.
 * @param run from GitHub; null if there is none or it can't be read: then the record's age decides
 */
export function isLost({ requestId, status, createdAt }: DeployRecord, run: Run | null, now: Date): boolean {
  if (status !== 'running') return false
  if (run === null) return now.getTime() - Date.parse(createdAt) > LOST_AFTER_MS
  if (run.status === 'completed') return true
  const asked = parseRunTitle(run.title)?.requestId ?? requestId
  return (run.attempt ?? 1) > 1 && attemptId(asked, run.attempt) !== requestId
}

/**
 * A deploy of the direct plane without a workflow run, or whose run GitHub no longer lists. Keys in the order of
 * `deployOf`. A record that still has `running` after two hours belongs to a lost run.
 */
export function deployOfRecord(record: DeployRecord, now?: Date): Deploy {
  const lost = now !== undefined && isLost(record, null, now)
  const { ami, runId, runUrl, createdAt, finishedAt } = record
  const status = lost ? 'failed' : record.status
  return {
    ...storeOrder(orderOf(record)),
    ami,
    status,
    waitsFor: null,
    queuePosition: null,
    runId,
    runUrl,
    createdAt,
    startedAt: createdAt,
    finishedAt,
    durationMs: durationOf(createdAt, finishedAt),
    hosts: hostsOf(record, lost),
    error: errorOf(status, record, runUrl),
  }
}

/** The deploy with its steps. If the run reported no reason for its failure, the failed step is the reason. */
export function withSteps(deploy: Deploy, jobs: readonly Job[]): DeployDetail {
  const steps: Step[] = jobs.flatMap((job) => job.steps.map((step) => ({ job: job.name, ...step })))
  const failed = steps.find((step) => step.conclusion === 'failure')
  if (deploy.error?.message !== UNEXPLAINED || !failed) return { ...deploy, steps }
  return { ...deploy, error: { ...deploy.error, message: `The run failed in its step "${failed.name}".` }, steps }
}

export function withoutSteps(detail: DeployDetail): Deploy {
  const { steps: _, ...deploy } = detail
  return deploy
}

export const isOver = (deploy: { status: DeployStatus }) => deploy.status !== 'queued' && deploy.status !== 'running'

/** The number of runs and records that are searched; GitHub's pages have at most 100. */
export const HISTORY_LOOKBACK = 100

export const RECORD_PREFIX = 'deploys/'
/** S3 lists keys in ascending order; the names count down, so the newest come first. */
export const INDEX_PREFIX = `${RECORD_PREFIX}by-time/`
const LAST_MOMENT = 9_999_999_999_999
const INDEX_KEY = /^deploys\/by-time\/(\d{13})-(.+)$/

/** The key of an empty object for each record; its name has the time of the request. */
export function indexKey(createdAt: string, requestId: string): string {
  const down = LAST_MOMENT - Date.parse(createdAt)
  return `${INDEX_PREFIX}${String(down).padStart(13, '0')}-${requestId}`
}

/** Null if the key is not one of the index. */
export function parseIndexKey(key: string): { requestId: string; at: number } | null {
  const [, down, requestId] = INDEX_KEY.exec(key) ?? []
  if (down === undefined || requestId === undefined || !REQUEST_ID_PATTERN.test(requestId)) return null
  return { requestId, at: LAST_MOMENT - Number(down) }
}

/** The S3 key of a run's own record. @throws RangeError for an id that could leave the prefix: callers parse first. */
export const recordKey = (requestId: string) => keyOf(RECORD_PREFIX, requestId)

/** Created by the request that dispatches the run, so that a concurrent equal request does not start a second one. */
export const claimKey = (requestId: string) => keyOf('claims/', requestId)

/** Written to cancel a deploy; its run reads it before each host. */
export const cancelKey = (requestId: string) => keyOf('control/cancel/', requestId)

function keyOf(prefix: string, requestId: string): string {
  if (!REQUEST_ID_PATTERN.test(requestId)) throw new RangeError('request id of the wrong form')
  return `${prefix}${requestId}.json`
}
