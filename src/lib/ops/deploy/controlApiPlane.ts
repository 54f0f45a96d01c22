import type {
  CancelRequest,
  Check,
  Deploy,
  DeployDetail,
  Fleet,
  Freeze,
  FreezeRequest,
  HostView,
  Order,
  UnfreezeRequest,
} from '../../domain/contract/index.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import type { Clock, Progress } from '../ports.js'
import { followDeploy, successOrThrow } from './followDeploy.js'
import type { Plane } from './plane.js'

/** The Control API's routes. Rejects with the code that the server answered, or UPSTREAM where it could not be reached. */
export interface ControlApi {
  fleet(): Promise<Fleet>
  host(id: string): Promise<HostView>
  createDeploy(order: Order & { code?: string | undefined }): Promise<Deploy>
  freeze(request: FreezeRequest): Promise<Freeze[]>
  unfreeze(request: UnfreezeRequest): Promise<Freeze[]>
  cancel(requestId: string, request: CancelRequest): Promise<Deploy>
  deploys(limit: number): Promise<Deploy[]>
  deploy(requestId: string): Promise<DeployDetail>
  /** What only the server can see of a flight's preconditions. */
  preflight(): Promise<Check[]>
}

/** For a run that was started a moment ago; GitHub takes seconds. */
const LISTED_WITHIN_MS = 30_000

/** How an agent or a laptop reaches the fleet: by asking. */
export function controlApiPlane(ports: { api: ControlApi; clock: Clock; progress: Progress }): Plane {
  const { api, clock, progress } = ports
  const follow: Plane['follow'] = (options) =>
    followDeploy({ ask: () => api.deploy(options.requestId), clock, progress }, options)
  return {
    fleet: () => api.fleet(),
    host: (id) => api.host(id),
    deploys: (limit) => api.deploys(limit),
    follow,
    freeze: (request) => api.freeze(request),
    unfreeze: (request) => api.unfreeze(request),
    cancel: (requestId, request) => api.cancel(requestId, request),
    async deploy(order, options) {
      const queued = await api.createDeploy({ ...order, code: options.code }).catch((error: unknown) => {
        const known = asClawctlError(error)
        if (known.code !== 'CANCELLED') throw withPartial(known, { requestId: order.requestId })
        throw new ClawctlError('CANCELLED', `You stopped while the request ${order.requestId} was on its way.`, {
          hint: `It may have been taken: \`clawctl fleet follow ${order.requestId}\` shows it.`,
          partial: { requestId: order.requestId },
        })
      })
      if (!options.wait) return queued
      progress.note(`queued as ${queued.requestId}${queued.runUrl ? `: ${queued.runUrl}` : ''}`)
      try {
        const { requestId } = queued
        return successOrThrow(
          await follow({ requestId, timeoutMs: options.waitTimeoutMs, listedWithinMs: LISTED_WITHIN_MS }),
        )
      } catch (error) {
        if (error instanceof ClawctlError && !error.partial?.deploy) throw withPartial(error, { deploy: queued })
        throw error
      }
    },
  }
}
