import type { Deploy, DeploySources, DeployStatus } from '../../../domain/contract/index.js'
import { describeAsker } from '../../../domain/deploy/identity.js'
import { STEP_TITLES } from '../../../domain/deploy/rollout.js'
import { isOver, UNREAD_DEPLOYS } from '../../../domain/deploy/run.js'
import { age, type Column, type Paint, table } from '../../text.js'
import { fitChat } from './fleet.js'

const STATUS_STYLE: Record<DeployStatus, Parameters<Paint>[0]> = {
  queued: 'yellow',
  running: 'yellow',
  planned: 'cyan',
  succeeded: 'green',
  failed: 'red',
  kept: 'red',
  'rolled-back': 'red',
  cancelled: 'dim',
  'timed-out': 'red',
}

function duration(deploy: Deploy, now: Date): string {
  if (!deploy.startedAt) return '-'
  return age(deploy.startedAt, deploy.finishedAt ? new Date(deploy.finishedAt) : now)
}

/** The target, with what is done to it if that is not a deploy. */
const targetOf = (deploy: Deploy) => (deploy.retire ? `${deploy.target} (retire)` : deploy.target)

/** One deploy for people: the headline, then its hosts. */
export function renderDeploy(deploy: Deploy, paint: Paint): string {
  const ami = deploy.ami ? ` with ${deploy.ami}` : ''
  const what = deploy.retire ? 'Retirement' : 'Deploy'
  const lines = [`${what} of ${deploy.target}${ami}: ${paint(STATUS_STYLE[deploy.status], deploy.status)}`]
  for (const host of deploy.hosts) {
    const from = host.previousAmi && host.previousAmi !== host.ami ? ` (was ${host.previousAmi})` : ''
    lines.push(
      `  ${host.id}: ${host.outcome}${host.ami ? `, ${host.ami}${from}` : ''}${host.instanceId ? `, ${host.instanceId}` : ''}`,
    )
    if (host.step) lines.push(`    ${STEP_TITLES[host.step.name]}${host.step.clause ? `: ${host.step.clause}` : ''}`)
    if (host.reason && host.reason !== deploy.error?.message) lines.push(`    ${host.reason}`)
  }
  if (deploy.leavesOut && !isOver(deploy)) {
    lines.push(`  ${deploy.leavesOut} is skipped: it sent the request, and no instance may replace itself`)
  }
  if (deploy.waitsFor) {
    const place = deploy.queuePosition === null ? '' : `, number ${deploy.queuePosition} in the queue`
    lines.push(`  waits for the deploy of ${deploy.waitsFor.target} (${deploy.waitsFor.requestId})${place}`)
  }
  lines.push(`  request ${deploy.requestId}`, `  asked   by ${describeAsker(deploy)}`)
  if (deploy.runUrl) lines.push(`  run     ${deploy.runUrl}`)
  if (!isOver(deploy)) lines.push(`\`clawctl fleet follow ${deploy.requestId}\` follows it.`)
  return lines.join('\n')
}

/** The beginning of a request id, by which `fleet follow` finds the deploy. */
const SHORT_ID = 8

/** A narrow table shows the age instead of the time, and the beginning of an id. */
const COLUMNS: (Column | string)[] = [
  { title: 'ASKED (UTC)', narrow: 1 },
  'AGE',
  'TARGET',
  { title: 'STATUS', narrow: 5, short: (cell) => cell.replace(/ behind .*/, '') },
  'AMI',
  { title: 'BY', narrow: 4 },
  { title: 'TOOK', narrow: 3 },
  { title: 'REQUEST', narrow: 2, short: (cell) => cell.slice(0, SHORT_ID) },
]

/** `fleet history` for people. */
export function renderDeploys(deploys: readonly Deploy[], now: Date, paint: Paint): string {
  if (deploys.length === 0) return 'No deploy yet.'
  const rows = deploys.map((d) => [
    d.createdAt ? d.createdAt.slice(0, 19).replace('T', ' ') : '-',
    age(d.createdAt, now),
    targetOf(d),
    paint(STATUS_STYLE[d.status], d.status) + (d.waitsFor ? ` behind ${d.waitsFor.target}` : ''),
    d.ami ?? '-',
    describeAsker(d),
    duration(d, now),
    d.requestId,
  ])
  return table(COLUMNS, rows)
}

/** A line if a source did not answer. */
export function withoutSources({ runs, records }: DeploySources): string[] {
  if (runs === 'unavailable') return [UNREAD_DEPLOYS.runs]
  return records === 'unavailable' ? [UNREAD_DEPLOYS.records] : []
}

/** Target, outcome, requester; and the request id of a deploy that is not over. */
export function renderDeploysForChat(deploys: readonly Deploy[], now: Date): string {
  if (deploys.length === 0) return 'No deploy yet.'
  return fitChat(
    deploys.map((d) => {
      const waits = d.waitsFor ? ` behind ${d.waitsFor.target}` : ''
      const why = d.error && d.error.code !== OUTCOME_CODES[d.status] ? ` (${d.error.code})` : ''
      const took = d.startedAt ? ` ${isOver(d) ? 'after' : 'for'} ${duration(d, now)}` : ''
      const follow = isOver(d) ? '' : `, request ${d.requestId}`
      const ami = d.ami ? `, ${d.ami}` : ''
      return `${targetOf(d)}: ${d.status}${why}${waits}${took}, requested ${age(d.createdAt, now)} ago by ${describeAsker(d)}${ami}${follow}`
    }),
  )
}

/** Codes that only repeat the status. */
const OUTCOME_CODES: Partial<Record<DeployStatus, string>> = {
  kept: 'KEPT',
  'rolled-back': 'ROLLED_BACK',
  cancelled: 'CANCELLED',
  'timed-out': 'TIMED_OUT',
}
