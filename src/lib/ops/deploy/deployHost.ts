import type { DeployHost, Image } from '../../domain/contract/index.js'
import { currentHost, type Host } from '../../domain/deploy/host.js'
import { guardPlan, instanceAddress } from '../../domain/deploy/planGuard.js'
import { type RolloutStep, WAITING_FOR_HEALTH } from '../../domain/deploy/rollout.js'
import { hostsInState, strangerTo } from '../../domain/deploy/tofuState.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Clock, Compute, ObjectStore, Progress, Tofu } from '../ports.js'
import { healthGate } from './healthGate.js'

export interface HostDeployPorts {
  compute: Compute
  store: ObjectStore
  tofu: Tofu
  clock: Clock
  progress: Progress
  /** A fresh path for a saved plan. */
  planFile(id: string): string
}

export interface HostDeploySettings {
  image: Image
  /** Ids in the state: they stay managed, whatever the registry says, so that nothing unnamed is destroyed. */
  managed: readonly string[]
  /** Bootstrap prefixes of those that are not deployed with this step, by id. */
  kept: Readonly<Record<string, string>>
  /** The ids that the request names: all of them, or one. */
  scope: readonly string[]
  planOnly: boolean
  onFailure: 'rollback' | 'stop'
  healthTimeoutMs: number
  /** Called with what is known of the host, as soon as it is. */
  onPlan(lines: readonly string[]): void
}

export type HostResult =
  | { ok: true; host: Pick<DeployHost, 'outcome' | 'ami' | 'instanceId'> }
  | { ok: false; host: Pick<DeployHost, 'outcome' | 'ami' | 'instanceId'>; error: ClawctlError }

/** Plans, guards and applies one host, then waits for its health; on failure goes back to what it ran before. */
export async function deployHost(
  step: RolloutStep,
  settings: HostDeploySettings,
  ports: HostDeployPorts,
): Promise<HostResult> {
  const { image } = settings
  const before = { outcome: 'failed', ami: step.previousAmi, instanceId: step.previousInstanceId } as const
  let file: string
  try {
    file = await planAndGuard(step, image.id, step.action === 'replace', settings, ports)
  } catch (error) {
    return { ok: false, host: before, error: asClawctlError(error) }
  }
  if (settings.planOnly) return { ok: true, host: { ...before, outcome: 'planned', ami: image.id } }

  const attempt = await applyAndWait(step, image.id, file, step.previousInstanceId, settings, ports)
  if (attempt.ok) {
    const outcome = step.action === 'create' ? 'created' : 'replaced'
    return { ok: true, host: { outcome, ami: image.id, instanceId: attempt.host.instanceId } }
  }
  const { error, host } = attempt
  const left = { outcome: 'failed', ami: host?.ami ?? null, instanceId: host?.instanceId ?? null } as const
  if (error.code === 'APPLY_FAILED' && !(await isGone(step, ports))) return { ok: false, host: before, error }
  if (error.code === 'CANCELLED') return { ok: false, host: left, error: interrupted(step, host) }
  // Only what is known to be bad is replaced again: not a host that we may not look at, nor one of a cancelled run.
  const isBad = error.code === 'HEALTH_FAILED' || error.code === 'APPLY_FAILED'
  if (!isBad || settings.onFailure === 'stop') return { ok: false, host: left, error }
  if (step.previousAmi === null || step.previousAmi === image.id) {
    const why = step.previousAmi === null ? 'It did not exist before' : 'It ran this AMI before, too'
    return {
      ok: false,
      host: left,
      error: new ClawctlError(error.code, `${error.message} ${why}, so there is no AMI to go back to.`, {
        hint: error.hint,
        cause: error,
      }),
    }
  }
  return rollBack(step, attempt, settings, ports)
}

function interrupted(step: RolloutStep, host: Host | null): ClawctlError {
  const now = host ? `it runs ${host.ami} now and was not seen healthy` : 'what became of it was not seen'
  return new ClawctlError('CANCELLED', `It was interrupted while ${step.id} was deployed: ${now}.`, {
    hint: 'See `clawctl fleet status`, then deploy again: it resumes.',
  })
}

/** True only where EC2 says that the instance which was to be replaced is no more, or never was. */
async function isGone(step: RolloutStep, ports: HostDeployPorts): Promise<boolean> {
  if (step.previousInstanceId === null) return true
  const hosts = await ports.compute.describeHosts().catch(() => null)
  return hosts !== null && !hosts.some((h) => h.instanceId === step.previousInstanceId && h.state !== 'shutting-down')
}

async function rollBack(
  step: RolloutStep,
  failure: { error: ClawctlError; host: Host | null },
  settings: HostDeploySettings,
  ports: HostDeployPorts,
): Promise<HostResult> {
  const previous = step.previousAmi as string
  ports.progress.note(`${step.id}: ${failure.error.message} Going back to ${previous}.`)
  let second: AttemptResult
  try {
    const hosts = await ports.compute.describeHosts()
    await mustBeInState(hosts, step, ports)
    const broken = currentHost(hosts, step.id) ?? null
    const back = { ...step, action: broken ? ('replace' as const) : ('create' as const) }
    const file = await planAndGuard(back, previous, back.action === 'replace', settings, ports)
    second = await applyAndWait(back, previous, file, broken?.instanceId ?? null, settings, ports)
  } catch (error) {
    second = { ok: false, host: null, error: asClawctlError(error) }
  }
  if (second.ok) {
    return {
      ok: false,
      host: { outcome: 'rolled-back', ami: previous, instanceId: second.host.instanceId },
      error: new ClawctlError('ROLLED_BACK', `${failure.error.message} It runs ${previous} again.`, {
        hint: `Look at ${settings.image.id} before the next deploy.`,
        cause: failure.error,
      }),
    }
  }
  return {
    ok: false,
    host: { outcome: 'failed', ami: second.host?.ami ?? null, instanceId: second.host?.instanceId ?? null },
    error: new ClawctlError(
      'ROLLBACK_FAILED',
      `${failure.error.message} Going back to ${previous} failed as well: ${second.error.message}`,
      { hint: `Deploy ${step.id} with --ami and an AMI that is known to work.`, cause: second.error },
    ),
  }
}

/** A replacement of what the state does not know would be a second machine with the same token. */
async function mustBeInState(hosts: readonly Host[], step: RolloutStep, ports: HostDeployPorts): Promise<void> {
  const stranger = strangerTo(hostsInState(await ports.tofu.state()), hosts, [step.id])
  if (stranger) throw notInState(stranger, 'It was left as it is.')
}

export function notInState(host: Host, consequence: string): ClawctlError {
  return new ClawctlError(
    'NOT_IN_STATE',
    `EC2 runs ${host.instanceId} as ${host.id}, but the OpenTofu state does not know it. ${consequence}`,
    {
      hint: `Terminate ${host.instanceId}, or bring it into the state: tofu import '${instanceAddress(host.id)}' ${host.instanceId}`,
    },
  )
}

async function planAndGuard(
  step: RolloutStep,
  ami: string,
  replace: boolean,
  settings: HostDeploySettings,
  ports: HostDeployPorts,
): Promise<string> {
  const file = ports.planFile(step.id)
  const address = instanceAddress(step.id)
  return ports.progress.task(`${step.id}: plan`, async (say) => {
    const plan = await ports.tofu.plan({
      file,
      ami,
      instances: [...new Set([...settings.managed, step.id])].sort(),
      kept: settings.kept,
      replace: replace ? address : null,
    })
    const summary = guardPlan(plan, { id: step.id, action: replace ? 'replace' : 'create', scope: settings.scope })
    settings.onPlan(summary.lines)
    say(summary.lines.join(', '))
    return file
  })
}

type AttemptResult = { ok: true; host: Host } | { ok: false; host: Host | null; error: ClawctlError }

async function applyAndWait(
  step: RolloutStep,
  ami: string,
  file: string,
  notInstanceId: string | null,
  settings: HostDeploySettings,
  ports: HostDeployPorts,
): Promise<AttemptResult> {
  let seen: Host | null = null
  const onSeen = (host: Host) => {
    seen = host
  }
  try {
    await ports.progress.task(`${step.id}: apply`, () => ports.tofu.apply(file))
    const gate = await ports.progress.task(`${step.id}: ${WAITING_FOR_HEALTH}`, (say) =>
      healthGate(ports, { id: step.id, ami, notInstanceId, timeoutMs: settings.healthTimeoutMs, onSeen }, say),
    )
    if (gate.healthy) return { ok: true, host: gate.host }
    return {
      ok: false,
      host: gate.host,
      error: new ClawctlError('HEALTH_FAILED', `${step.id} on ${ami} is not healthy: ${gate.reason}.`, {
        hint: `Look at ${step.id}, or deploy it with --ami and an AMI that is known to work.`,
      }),
    }
  } catch (error) {
    return { ok: false, host: seen, error: asClawctlError(error) }
  }
}
