import type { Deploy, Order } from '../../domain/contract/index.js'
import { decideDeploy } from '../../domain/deploy/policy.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { DeployOptions, Plane } from './plane.js'

/** As they were typed: what was left out is undefined. */
export interface AskedOptions {
  planOnly: boolean
  onFailure: DeployOptions['onFailure'] | undefined
  healthTimeoutMs: number | undefined
  wait: boolean
  waitTimeoutMs: number
}

const HEALTH_TIMEOUT_MS = 15 * 60_000

/**
 * What a person, an agent or a CI job asks for, refused here where that can be known without the network, and left to
 * the plane otherwise, which decides again.
 */
export async function requestDeploy(
  order: Order,
  options: AskedOptions,
  ports: {
    mode: 'agent' | 'ci'
    registry: Registry | undefined
    /** Part of a workflow's run: the plane then refuses, and writes down why, for whoever follows the run. */
    inRun: boolean
    plane(): Promise<Plane>
  },
): Promise<Deploy> {
  if (ports.mode !== 'ci') refuseCiOptions(options)
  const verdict = decideDeploy({ ...order, registry: ports.registry })
  if (!verdict.allowed && !ports.inRun) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })
  const plane = await ports.plane()
  return plane.deploy(order, {
    ...options,
    onFailure: options.onFailure ?? 'rollback',
    healthTimeoutMs: options.healthTimeoutMs ?? HEALTH_TIMEOUT_MS,
  })
}

function refuseCiOptions(options: AskedOptions): void {
  const flag =
    (options.planOnly && '--plan-only') ||
    (options.onFailure && '--on-failure') ||
    (options.healthTimeoutMs !== undefined && '--health-timeout')
  if (!flag) return
  throw new ClawctlError('NOT_CI', `${flag} exists only in ci mode, where OpenTofu runs.`, {
    hint: `Leave ${flag} out: the Control API starts the whole deploy.`,
  })
}
