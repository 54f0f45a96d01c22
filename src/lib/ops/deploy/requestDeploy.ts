import { type Deploy, NOT_A_NUMBER_PATTERN, type Order } from '../../domain/contract/index.js'
import { type Identity, identityOf, identityOnDirectPlane } from '../../domain/deploy/identity.js'
import { allowDeploy } from '../../domain/deploy/policy.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Progress } from '../ports.js'
import type { DeployOptions, Plane } from './plane.js'

/** As they were typed: what was left out is undefined. */
export interface AskedOptions {
  planOnly: boolean
  onFailure: DeployOptions['onFailure'] | undefined
  healthTimeoutMs: number | undefined
  wait: boolean
  waitTimeoutMs: number
  /** One-time code of the person who asked. */
  code: string | undefined
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
    /** Whether to destroy the target; asked last, and only about a retirement. */
    confirm?(target: string): Promise<boolean>
    /** Shows the request id before anything is sent. */
    progress: Pick<Progress, 'note'>
  },
): Promise<Deploy> {
  const { mode, inRun, registry, progress } = ports
  progress.note(`request ${order.requestId}`)
  try {
    if (mode !== 'ci') refuseOnAgent(order, options)
    if (!inRun) allowDeploy({ ...order, registry, identity: identityAt(mode, order, options.code) })
    const plane = await ports.plane()
    if (order.retire && !inRun && (await ports.confirm?.(order.target)) === false) {
      throw new ClawctlError('CANCELLED', `${order.target} was not retired: the answer was no.`)
    }
    return await plane.deploy(order, {
      ...options,
      onFailure: options.onFailure ?? 'rollback',
      healthTimeoutMs: options.healthTimeoutMs ?? HEALTH_TIMEOUT_MS,
    })
  } catch (error) {
    throw withPartial(asClawctlError(error), { requestId: order.requestId })
  }
}

/** As far as it is known before anybody is asked: a code may be right. */
function identityAt(mode: 'agent' | 'ci', order: Order, code: string | undefined): Identity {
  if (mode === 'ci') return identityOnDirectPlane(order)
  const claimed = identityOf(order)
  return code === undefined ? claimed : { ...claimed, person: 'verified' }
}

function refuseOnAgent(order: Order, options: AskedOptions): void {
  refuseCiOptions(options)
  if (NOT_A_NUMBER_PATTERN.test(order.requestId)) return
  throw new ClawctlError('INVALID_REQUEST', 'A request id is no number: those are the ids of runs.', {
    hint: 'Leave --request-id out to get one made.',
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
