import type { Deploy, DeployStatus } from '../../domain/contract.js'
import { isOver } from '../../domain/run.js'
import { age, type painter, table } from '../text.js'
import { fitChat } from './fleet.js'

type Paint = ReturnType<typeof painter>

const STATUS_STYLE: Record<DeployStatus, Parameters<Paint>[0]> = {
  queued: 'yellow',
  running: 'yellow',
  planned: 'cyan',
  succeeded: 'green',
  failed: 'red',
  'rolled-back': 'red',
  cancelled: 'dim',
  'timed-out': 'red',
}

function duration(deploy: Deploy, now: Date): string {
  if (!deploy.startedAt) return '-'
  return age(deploy.startedAt, deploy.finishedAt ? new Date(deploy.finishedAt) : now)
}

function who(deploy: Deploy): string {
  if (deploy.requestedBy) return deploy.caller ? `${deploy.requestedBy} (via ${deploy.caller})` : deploy.requestedBy
  return deploy.caller ?? 'a maintainer'
}

/** One deploy for people: the headline, then its hosts. */
export function renderDeploy(deploy: Deploy, paint: Paint): string {
  const ami = deploy.ami ? ` with ${deploy.ami}` : ''
  const lines = [`Deploy of ${deploy.target}${ami}: ${paint(STATUS_STYLE[deploy.status], deploy.status)}`]
  for (const host of deploy.hosts) {
    const from = host.previousAmi && host.previousAmi !== host.ami ? ` (was ${host.previousAmi})` : ''
    lines.push(
      `  ${host.id}: ${host.outcome}${host.ami ? `, ${host.ami}${from}` : ''}${host.instanceId ? `, ${host.instanceId}` : ''}`,
    )
  }
  if (deploy.waitsFor) {
    const place = deploy.queuePosition === null ? '' : `, number ${deploy.queuePosition} in the queue`
    lines.push(`  waits for the deploy of ${deploy.waitsFor.target} (${deploy.waitsFor.requestId})${place}`)
  }
  lines.push(`  request ${deploy.requestId}`)
  if (deploy.runUrl) lines.push(`  run     ${deploy.runUrl}`)
  if (!isOver(deploy)) lines.push('See `clawctl fleet history` for how it goes on.')
  return lines.join('\n')
}

/** `fleet history` for people. */
export function renderDeploys(deploys: readonly Deploy[], now: Date, paint: Paint): string {
  if (deploys.length === 0) return 'No deploy yet.'
  const rows = deploys.map((d) => [
    d.createdAt ? d.createdAt.slice(0, 19).replace('T', ' ') : '-',
    d.target,
    paint(STATUS_STYLE[d.status], d.status) + (d.waitsFor ? ` behind ${d.waitsFor.target}` : ''),
    d.ami ?? '-',
    who(d),
    duration(d, now),
    d.requestId,
  ])
  return table(['ASKED (UTC)', 'TARGET', 'STATUS', 'AMI', 'BY', 'TOOK', 'REQUEST'], rows)
}

export function renderDeploysForChat(deploys: readonly Deploy[], now: Date): string {
  if (deploys.length === 0) return 'No deploy yet.'
  return fitChat(
    deploys.map((d) => {
      const waits = d.waitsFor ? ` behind ${d.waitsFor.target}` : ''
      return `${d.target}: ${d.status}${waits}, asked ${age(d.createdAt, now)} ago by ${who(d)}${d.ami ? `, ${d.ami}` : ''}`
    }),
  )
}
