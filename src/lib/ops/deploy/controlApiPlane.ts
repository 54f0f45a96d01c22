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
import type { Registry } from '../../domain/registry/registry.js'
import type { Clock, Progress } from '../ports.js'
import type { History } from './deploys.js'
import type { Plane } from './plane.js'

/** The Control API's routes. Rejects with the code of the server's answer, or UPSTREAM if it could not be reached. */
export interface ControlApi {
  fleet(): Promise<Fleet>
  host(id: string): Promise<HostView>
  createDeploy(order: Order & { code?: string | undefined }): Promise<Deploy>
  freeze(request: FreezeRequest): Promise<Freeze[]>
  unfreeze(request: UnfreezeRequest): Promise<Freeze[]>
  cancel(requestId: string, request: CancelRequest): Promise<Deploy>
  deploys(page: { limit: number; before?: string }): Promise<History>
  /**
   * @param poll the server holds the answer for up to `wait` seconds, until its version differs from `seen`
   */
  deploy(
    requestId: string,
    poll?: { wait: number; seen?: string },
  ): Promise<{ deploy: DeployDetail; version: string | null }>
  /** The preflight checks that only the server can make. */
  preflight(): Promise<Check[]>
}

/** Loaded when a deploy is followed; `fleet status` does not need it. */
const followOps = () => import('./followDeploy.js')

/** GitHub lists a new run after some seconds. */
const LISTED_WITHIN_MS = 30_000

interface ControlApiPorts {
  api: ControlApi
  clock: Clock
  progress: Progress
  /** The checkout's registry, or undefined. */
  localRegistry?(): Promise<Registry | undefined>
}

/** Agent mode: agents and laptops reach the fleet through the Control API. */
export function controlApiPlane(ports: ControlApiPorts): Plane {
  const { api, clock, progress } = ports
  /** The server reads the registry of the deployed branch, so it does not know an id that is only in the checkout. */
  const notMergedYet = async (error: unknown, id: string): Promise<never> => {
    const known = asClawctlError(error)
    const registry = known.code === 'UNKNOWN_TARGET' ? await ports.localRegistry?.() : undefined
    const { findEntry } = await import('../../domain/registry/registry.js')
    if (!registry || !findEntry(registry, id)) throw known
    throw new ClawctlError('UNKNOWN_TARGET', `${id} is in this checkout, but not merged yet.`, {
      hint: `Merge its entry in nix/instances.json into the deployed branch first: \`clawctl registry add ${id} --pr\`.`,
      cause: error,
    })
  }
  const follow: Plane['follow'] = async (options) => {
    const { followDeploy } = await followOps()
    return followDeploy({ ask: longPoll(api, options.requestId), clock, progress }, options)
  }
  return {
    fleet: () => api.fleet(),
    host: (id) => api.host(id).catch((error: unknown) => notMergedYet(error, id)),
    deploys: async (limit) => (await api.deploys({ limit })).deploys,
    history: (page) => api.deploys(page),
    follow,
    freeze: (request) => api.freeze(request),
    unfreeze: (request) => api.unfreeze(request),
    cancel: (requestId, request) => api.cancel(requestId, request),
    async deploy(order, options) {
      const queued = await api.createDeploy({ ...order, code: options.code }).catch((error: unknown) => {
        const known = asClawctlError(error)
        if (known.code === 'UNKNOWN_TARGET') return notMergedYet(known, order.target)
        if (known.code !== 'CANCELLED') throw withPartial(known, { requestId: order.requestId })
        throw new ClawctlError('CANCELLED', `You stopped while the request ${order.requestId} was in flight.`, {
          hint: `The server may have accepted it: \`clawctl fleet follow ${order.requestId}\` shows it.`,
          partial: { requestId: order.requestId },
        })
      })
      // A repeated request id may belong to a deploy that is over.
      if (!options.wait) return queued.error === null ? queued : (await followOps()).successOrThrow(queued)
      progress.note(`queued as ${queued.requestId}${queued.runUrl ? `: ${queued.runUrl}` : ''}`)
      const { successOrThrow } = await followOps()
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

/** The longest that the Control API holds an answer. */
const WAIT_SECONDS = 25

/** From the second call on, the server holds the answer until the deploy changes. */
function longPoll(api: ControlApi, requestId: string): () => Promise<DeployDetail> {
  let seen: string | null = null
  return async () => {
    const { deploy, version } = await api.deploy(requestId, seen === null ? undefined : { wait: WAIT_SECONDS, seen })
    // An old Control API has no versions and answers immediately.
    seen = version
    return deploy
  }
}
