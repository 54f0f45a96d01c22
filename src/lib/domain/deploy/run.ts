import type { Deploy, DeployDetail, DeployHost, DeployRecord, DeployStatus, Step } from '../contract/index.js'
import { orderOf, parseRunTitle, storeOrder } from '../contract/order.js'
import { REQUEST_ID_PATTERN } from '../contract/patterns.js'
import type { ErrorBody } from '../errors.js'

/** A run of the deploy workflow, as GitHub's API tells it. */
export interface Run {
  id: number
  /** From 1; a run that somebody started again has a higher one. Absent: the first. */
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

/** GitHub's ids grow; its times have the precision of a second. */
const byAge = (a: Run, b: Run) => a.id - b.id

/** The run that a queued one waits for: the one that holds the slot, else the oldest before it. */
export function holderOf(run: Run, runs: readonly Run[]): Run | null {
  if (run.status === 'completed' || run.status === 'in_progress') return null
  return (
    runs
      .filter((other) => other.id !== run.id && other.status !== 'completed')
      .filter((other) => other.status === 'in_progress' || byAge(other, run) < 0)
      .sort((a, b) => (a.status === 'in_progress' ? -1 : b.status === 'in_progress' ? 1 : byAge(a, b)))[0] ?? null
  )
}

/** The place of a run among those that have not begun, from 1; null for one that has. */
export function queuePositionOf(run: Run, runs: readonly Run[]): number | null {
  const waits = ({ status }: Run) => status !== 'completed' && status !== 'in_progress'
  return waits(run) ? 1 + runs.filter((other) => waits(other) && byAge(other, run) < 0).length : null
}

/** From the start of the run to its end; null while it is not over. */
function durationOf(startedAt: string | null, finishedAt: string | null): number | null {
  const ms = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '')
  return ms >= 0 ? ms : null
}

function statusOf(run: Run, record: DeployRecord | null): DeployStatus {
  if (run.status !== 'completed') return run.status === 'in_progress' ? 'running' : 'queued'
  if (run.conclusion === 'success') return record?.status === 'planned' ? 'planned' : 'succeeded'
  if (run.conclusion === 'cancelled') return 'cancelled'
  if (run.conclusion === 'timed_out') return 'timed-out'
  return record?.status === 'rolled-back' || record?.status === 'kept' ? record.status : 'failed'
}

/** A record that a lost runner could not finish: what was under way when it died is not a success. */
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

/** What was under way is all that is known of it. */
const lostReason = ({ step }: DeployHost) =>
  `The run was lost${step ? ` in its step ${step.name}${step.clause ? `: ${step.clause}` : ''}` : ''}.`

/** What deploys lack without each of their sources. */
export const UNREAD_DEPLOYS = {
  runs: 'GitHub could not be asked: this is what the records say.',
  records: 'S3 could not be asked: hosts, reasons and older deploys are missing.',
} as const

const UNEXPLAINED = 'The run ended without success and without a word about why.'

function errorOf(status: DeployStatus, record: DeployRecord | null, url: string | null): ErrorBody | null {
  if (status === 'succeeded' || status === 'planned' || status === 'queued' || status === 'running') return null
  if (record?.error && status !== 'timed-out') return record.error
  const hint = url ? `Open the run: ${url}` : undefined
  if (status === 'cancelled') return { code: 'CANCELLED', message: 'The run was cancelled.', hint }
  if (status === 'timed-out') return { code: 'TIMED_OUT', message: 'The run took longer than its job may.', hint }
  const lost = record?.status === 'running' ? record.hosts.find((host) => host.outcome === 'deploying') : undefined
  if (lost) {
    return {
      code: 'DEPLOY_FAILED',
      message: `The run was lost while it deployed ${lost.id}.`,
      hint: `See \`clawctl fleet status\` for what became of ${lost.id}, then deploy it again: it resumes.`,
    }
  }
  return { code: 'DEPLOY_FAILED', message: UNEXPLAINED, hint }
}

/**
 * A run that is run again is a deploy of its own in records and history: its request id has the attempt behind it, cut to
 * what a request id may have.
 */
export const attemptId = (requestId: string, attempt = 1) =>
  attempt > 1 ? `${requestId.slice(0, 60)}-r${attempt}` : requestId

/** One deploy out of what GitHub knows of its run and what the run wrote down itself. GitHub has the last word on the status. */
export function deployOf(run: Run, record: DeployRecord | null, runs: readonly Run[]): Deploy {
  const order = parseRunTitle(run.title) ?? { requestId: String(run.id), target: record?.target ?? 'unknown' }
  const status = statusOf(run, record)
  const holder = holderOf(run, runs)
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

/** The deploy role's credentials and the workflow's job end after two hours: nobody is still at it. */
export const LOST_AFTER_MS = 2 * 60 * 60_000

/**
 * A deploy that ran on the direct plane without a workflow run, or whose run GitHub no longer lists. Keys in the order
 * of `deployOf`. Whoever wrote a record that still says `running` after `now` minus two hours was killed.
 */
export function deployOfRecord(record: DeployRecord, now?: Date): Deploy {
  const lost =
    now !== undefined && record.status === 'running' && now.getTime() - Date.parse(record.createdAt) > LOST_AFTER_MS
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

/** The deploy with its steps; where the run itself said nothing of why it failed, the step that failed does. */
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

/** How far back runs and records are looked for; GitHub pages by 100. */
export const HISTORY_LOOKBACK = 100

export const RECORD_PREFIX = 'deploys/'
/** S3 lists keys from the front: what counts down is listed newest first. */
export const INDEX_PREFIX = `${RECORD_PREFIX}by-time/`
const LAST_MOMENT = 9_999_999_999_999
const INDEX_KEY = /^deploys\/by-time\/(\d{13})-(.+)$/

/** An object beside each record, whose name alone says when the deploy was asked; it holds nothing. */
export function indexKey(createdAt: string, requestId: string): string {
  const down = LAST_MOMENT - Date.parse(createdAt)
  return `${INDEX_PREFIX}${String(down).padStart(13, '0')}-${requestId}`
}

/** Null for a key that is none of the index. */
export function parseIndexKey(key: string): { requestId: string; at: number } | null {
  const [, down, requestId] = INDEX_KEY.exec(key) ?? []
  if (down === undefined || requestId === undefined || !REQUEST_ID_PATTERN.test(requestId)) return null
  return { requestId, at: LAST_MOMENT - Number(down) }
}

/** The S3 key of a run's own record. @throws RangeError for an id that could leave the prefix: callers parse first. */
export const recordKey = (requestId: string) => keyOf(RECORD_PREFIX, requestId)

/** Created by the request that dispatches the run, so that the same request at the same moment does not start a second. */
export const claimKey = (requestId: string) => keyOf('claims/', requestId)

/** Written by who cancels a deploy; its run looks for it before each host. */
export const cancelKey = (requestId: string) => keyOf('control/cancel/', requestId)

function keyOf(prefix: string, requestId: string): string {
  if (!REQUEST_ID_PATTERN.test(requestId)) throw new RangeError('request id of the wrong form')
  return `${prefix}${requestId}.json`
}
