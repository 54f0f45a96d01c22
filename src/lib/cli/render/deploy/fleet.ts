import { UNREAD_SOURCES } from '../../../domain/contract/fleet.js'
import type { Fleet, FleetInstance, Freeze } from '../../../domain/contract/index.js'
import { describeFreeze } from '../../../domain/deploy/freeze.js'
import { age, type Column, type Paint, table } from '../../text.js'

const STATE_STYLE: Record<FleetInstance['state'], Parameters<Paint>[0]> = {
  running: 'green',
  pending: 'yellow',
  stopping: 'yellow',
  stopped: 'red',
  missing: 'red',
  orphan: 'magenta',
}
export const HEALTH_STYLE = { healthy: 'green', unhealthy: 'red', unknown: 'dim' } as const
const AMI_STYLE = { latest: 'green', stale: 'yellow', failed: 'red', unknown: 'dim' } as const

const COLUMNS: (Column | string)[] = [
  'INSTANCE',
  'STATE',
  'HEALTH',
  'AMI',
  '',
  { title: 'TYPE', narrow: 2 },
  { title: 'ADDRESS', narrow: 3 },
  { title: 'AGE', narrow: 4 },
  { title: 'REVISION', narrow: 1 },
]

/** `fleet status` for people. */
export function renderFleet(fleet: Fleet, now: Date, paint: Paint): string {
  const rows = fleet.instances.map((i) => [
    i.id,
    paint(STATE_STYLE[i.state], i.state),
    paint(HEALTH_STYLE[i.health], i.health),
    i.ami ?? '-',
    i.ami ? paint(AMI_STYLE[i.amiStatus], i.amiStatus) : '-',
    i.instanceType ?? '-',
    i.publicIp ?? '-',
    age(i.launchedAt, now),
    i.revision?.slice(0, 12) ?? '-',
  ])
  const latest = fleet.latestAmi
  const failed = fleet.failedAmi
  return [
    table(COLUMNS, rows),
    '',
    ...withBlankLine([
      ...missingSources(fleet),
      ...(fleet.freezes ?? []).map(freezeLine),
      ...fleet.instances.flatMap(remarks),
    ]),
    latest
      ? `Latest AMI: ${latest.id} (${latest.name}, ${age(latest.createdAt, now)} old)`
      : `Latest AMI: ${isUnread(fleet, 'images') ? 'unknown' : 'none is tagged clawdinator=true'}`,
    ...(failed ? [`Newer AMI:  ${failed.id} (${failed.name}) failed in the deploy ${failed.requestId}`] : []),
    ...(fleet.deploying
      ? [`Deploy:     of ${fleet.deploying.target} is under way (${fleet.deploying.requestId})`]
      : []),
  ].join('\n')
}

/** One line for each freeze. */
export function renderFreezes(freezes: readonly Freeze[]): string {
  return freezes.map(freezeLine).join('\n')
}

const freezeLine = (freeze: Freeze) =>
  `${freeze.target === 'all' ? 'The fleet' : freeze.target} is frozen ${describeFreeze(freeze)}`

const isUnread = ({ sources }: Fleet, name: keyof typeof UNREAD_SOURCES) => sources?.[name] === 'unavailable'

/** A line for each source that could not be read, and the command that shows the reasons. */
function missingSources({ sources }: Fleet): string[] {
  const lines = Object.entries(sources ?? {}).flatMap(([name, state]) =>
    state === 'unavailable' ? [UNREAD_SOURCES[name as keyof typeof UNREAD_SOURCES]] : [],
  )
  return lines.length > 0 ? [...lines, 'For the reason: clawctl preflight.'] : []
}

const withBlankLine = (lines: readonly string[]) => (lines.length > 0 ? [...lines, ''] : [])

/** Why a host is not healthy, and further machines of it. */
function remarks({ id, state, health, reason, beside }: FleetInstance): string[] {
  const isNews = reason && health !== 'healthy' && state !== 'missing'
  return [
    ...(isNews ? [`${id}: ${reason}`] : []),
    ...(beside
      ? [`${id}: ${beside.role} ${beside.instanceId} on ${beside.ami}, ${beside.health}: ${beside.reason}`]
      : []),
  ]
}

/** Discord's limit of a message is 2,000 characters, the smallest of the chats in use. */
const CHAT_LIMIT = 2000

/** `fleet status --chat`: no columns, because chats have no fixed width. */
export function renderFleetForChat(fleet: Fleet, now: Date): string {
  const lines = fleet.instances.map((i) => {
    if (i.state === 'missing') return `${i.id}: missing`
    const ami = i.amiStatus === 'unknown' ? '' : `, ${i.amiStatus} AMI ${i.ami}`
    const why = i.reason && i.health !== 'healthy' ? ` (${i.reason})` : ''
    const beside = i.beside ? `; ${i.beside.role} ${i.beside.health}: ${i.beside.reason}` : ''
    return `${i.id}: ${i.state}, ${i.health}${why}${ami}, up ${age(i.launchedAt, now)}${beside}`
  })
  const last = fleet.latestAmi
    ? `latest AMI: ${fleet.latestAmi.id} (${age(fleet.latestAmi.createdAt, now)} old)`
    : isUnread(fleet, 'images')
      ? 'latest AMI: unknown'
      : 'no latest AMI'
  const { failedAmi: failed, deploying } = fleet
  const more = [
    ...(fleet.freezes ?? []).map(freezeLine),
    ...(failed ? [`newer AMI ${failed.id} failed in ${failed.requestId}`] : []),
    ...(deploying ? [`a deploy of ${deploying.target} is under way (${deploying.requestId})`] : []),
  ]
  return fitChat([...lines, last, ...more, ...missingSources(fleet)])
}

/** Keeps whole lines, and counts the others. */
export function fitChat(lines: readonly string[]): string {
  const kept: string[] = []
  let length = 0
  for (const [index, line] of lines.entries()) {
    const rest = `… and ${lines.length - index} more`
    if (length + line.length + 1 + rest.length > CHAT_LIMIT) return [...kept, rest].join('\n')
    kept.push(line)
    length += line.length + 1
  }
  return kept.join('\n')
}
