import ms from 'ms'
import { type Deploy, NOT_A_NUMBER_PATTERN, type Order } from '../../domain/contract/index.js'
import { type Identity, identityOf, identityOnDirectPlane } from '../../domain/deploy/identity.js'
import { allowDeploy } from '../../domain/deploy/policy.js'
import { HEALTH_TIMEOUT } from '../../domain/deploy/rollout.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Progress } from '../ports.js'
import type { DeployOptions, Plane } from './plane.js'

/** As typed; an option that was left out is undefined. */
export interface DeployFlags {
  planOnly: boolean
  onFailure?: DeployOptions['onFailure'] | undefined
  healthTimeoutMs?: number | undefined
  wait: boolean
  waitTimeoutMs: number
  /** One-time code of the requester. */
  code: string | undefined
}

/**
 * Requests a deploy. Refuses here what can be refused without the network; the plane decides again.
 */
export async function requestDeploy(
  order: Order,
  options: DeployFlags,
  ports: {
    mode: 'agent' | 'ci'
    registry: Registry | undefined
    /** In a workflow's run only the plane refuses, because it also records the reason for followers. */
    inRun: boolean
    plane(): Promise<Plane>
    /** Confirms that a retirement may destroy the target. */
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
      healthTimeoutMs: options.healthTimeoutMs ?? ms(HEALTH_TIMEOUT),
    })
  } catch (error) {
    throw withPartial(asClawctlError(error), { requestId: order.requestId })
  }
}

/** The identity that can be known without the server: a code counts as right. */
function identityAt(mode: 'agent' | 'ci', order: Order, code: string | undefined): Identity {
  if (mode === 'ci') return identityOnDirectPlane(order)
  const claimed = identityOf(order)
  return code === undefined ? claimed : { ...claimed, person: 'verified' }
}

function refuseOnAgent(order: Order, options: DeployFlags): void {
  refuseCiOptions(options)
  if (NOT_A_NUMBER_PATTERN.test(order.requestId)) return
  throw new ClawctlError('INVALID_REQUEST', 'A request id must not be a number, because the ids of runs are numbers.', {
    hint: 'Leave --request-id out: clawctl then makes one.',
  })
}

function refuseCiOptions(options: DeployFlags): void {
  const flag =
    (options.planOnly && '--plan-only') ||
    (options.onFailure && '--on-failure') ||
    (options.healthTimeoutMs !== undefined && '--health-timeout')
  if (!flag) return
  throw new ClawctlError('NOT_CI', `${flag} exists only in ci mode, where OpenTofu runs.`, {
    hint: `Leave ${flag} out: the Control API starts the whole deploy.`,
  })
}
