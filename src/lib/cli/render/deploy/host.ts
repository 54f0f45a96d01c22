import type { HostMachine, HostView } from '../../../domain/contract/index.js'
import { age, elapsed, type Paint } from '../../text.js'
import { fitChat, HEALTH_STYLE } from './fleet.js'

/** `fleet show`: one instance on one screen. */
export function renderHost(host: HostView, now: Date, paint: Paint): string {
  const lines = [`${host.id}${host.registered ? '' : ' (not in the registry)'}`]
  if (host.machines.length === 0) lines.push('  It has no machine.')
  for (const machine of host.machines) lines.push('', ...machineLines(machine, now, paint))
  const failed = host.deploys?.find(({ evidence }) => evidence !== null)
  if (failed?.evidence && !host.machines.some(({ instanceId }) => instanceId === failed.evidence?.instanceId)) {
    const { instanceId, ami, stages, failure, console } = failed.evidence
    lines.push('', `${instanceId}  failed in ${failed.requestId} and was removed`)
    lines.push(`  AMI       ${ami}`)
    if (failed.reason) lines.push(`  reason    ${failed.reason}`)
    lines.push(...timeline(stages), ...failureLines(failure), ...consoleLines(console))
  }
  lines.push('', 'Last deploys')
  if (host.deploys === null) lines.push('  They could not be read.')
  else if (host.deploys.length === 0) lines.push('  None.')
  for (const deploy of host.deploys ?? []) {
    const ami = deploy.ami ? `, ${deploy.ami}` : ''
    lines.push(`  ${age(deploy.createdAt, now)} ago  ${deploy.outcome}${ami}  ${deploy.requestId}`)
    if (deploy.reason) lines.push(`      ${deploy.reason}`)
  }
  return lines.join('\n')
}

function machineLines(machine: HostMachine, now: Date, paint: Paint): string[] {
  const { ami, gateway } = machine
  const failed = ami.failedIn ? `, failed in ${ami.failedIn}` : ''
  const of = [ami.name, ami.createdAt && `${age(ami.createdAt, now)} old`].filter(Boolean).join(', ')
  const where = [machine.slot && `slot ${machine.slot}`, machine.instanceType, machine.publicIp]
    .filter(Boolean)
    .join(', ')
  const restarts = gateway?.restarts ? `, ${gateway.restarts} restarts` : ''
  const channels = (gateway?.channels ?? []).map(({ name, connected, reason }) => {
    return `${name} ${connected === true ? 'ok' : connected === false ? 'not connected' : 'not known'}${reason ? ` (${reason})` : ''}`
  })
  const plugins = (gateway?.plugins ?? []).map(({ name, error }) => `plugin ${name}: ${error}`)
  return [
    `${machine.instanceId}  ${machine.role}, ${machine.state}, ${paint(HEALTH_STYLE[machine.health], machine.health)}`,
    `  reason    ${machine.reason}`,
    `  machine   ${where}, up ${age(machine.launchedAt, now)}`,
    `  AMI       ${ami.id}${of ? ` (${of}${failed})` : failed}`,
    ...(machine.revision ? [`  revision  ${machine.revision}`] : []),
    ...(machine.requestId ? [`  deploy    ${machine.requestId}`] : []),
    ...(gateway ? [`  gateway   ${[`${gateway.state}${restarts}`, ...channels, ...plugins].join(', ')}`] : []),
    ...timeline(machine.stages),
    ...failureLines(machine.failure),
    ...(machine.health === 'healthy' ? [] : consoleLines(machine.console)),
  ]
}

/** Each stage with its time since the stage before. */
function timeline(stages: HostMachine['stages']): string[] {
  if (stages.length === 0) return []
  const steps = stages.map(({ stage, at }, index) => {
    const before = stages[index - 1]
    return before ? `${stage} +${elapsed(Date.parse(at) - Date.parse(before.at))}` : `${stage} ${at.slice(11, 19)}`
  })
  return [`  boot      ${steps.join(', ')}`]
}

function failureLines(failure: HostMachine['failure']): string[] {
  if (!failure) return []
  const unit = failure.unit ? ` in ${failure.unit}` : ''
  return [`  failed    ${failure.stage}${unit}`, ...failure.lines.map((line) => `      ${line}`)]
}

const consoleLines = (lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['  console', ...lines.map((line) => `      ${line}`)]

/** `fleet show --chat`: one line per machine and deploy. */
export function renderHostForChat(host: HostView, now: Date): string {
  const machines = host.machines.map((machine) => {
    const { instanceId, role, health, reason, ami } = machine
    return `${instanceId}: ${role}, ${health} (${reason}), ${ami.id}, up ${age(machine.launchedAt, now)}`
  })
  const failures = host.machines.flatMap(({ failure }) => failureLines(failure))
  const deploys = (host.deploys ?? []).map(({ createdAt, outcome, reason, requestId }) => {
    return `${age(createdAt, now)} ago ${outcome}${reason ? `: ${reason}` : ''} (${requestId})`
  })
  const none = machines.length === 0 ? ['It has no machine.'] : []
  return fitChat([host.id, ...none, ...machines, ...failures, ...deploys])
}
