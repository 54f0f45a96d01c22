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

/** The Control API's routes. Rejects with the code that the server answered, or UPSTREAM where it could not be reached. */
export interface ControlApi {
  fleet(): Promise<Fleet>
  host(id: string): Promise<HostView>
  createDeploy(order: Order & { code?: string | undefined }): Promise<Deploy>
  freeze(request: FreezeRequest): Promise<Freeze[]>
  unfreeze(request: UnfreezeRequest): Promise<Freeze[]>
  cancel(requestId: string, request: CancelRequest): Promise<Deploy>
  deploys(page: { limit: number; before?: string }): Promise<History>
  /**
   * @param poll holds the answer for up to so many seconds, until it is another than the one of version `seen`
   */
  deploy(
    requestId: string,
    poll?: { wait: number; seen?: string },
  ): Promise<{ deploy: DeployDetail; version: string | null }>
  /** What only the server can see of a flight's preconditions. */
  preflight(): Promise<Check[]>
}

/** Loaded when a deploy is followed; `fleet status` does not need it. */
const followOps = () => import('./followDeploy.js')

/** For a run that was started a moment ago; GitHub takes seconds. */
const LISTED_WITHIN_MS = 30_000

interface ControlApiPorts {
  api: ControlApi
  clock: Clock
  progress: Progress
  /** The checkout's registry, undefined where there is none. */
  localRegistry?(): Promise<Registry | undefined>
}

/** How an agent or a laptop reaches the fleet: by asking. */
export function controlApiPlane(ports: ControlApiPorts): Plane {
  const { api, clock, progress } = ports
  /** The server reads the deployed branch: an id that is only in the checkout is unknown to it. */
  const notMergedYet = async (error: unknown, id: string): Promise<never> => {
    const known = asClawctlError(error)
    const registry = known.code === 'UNKNOWN_TARGET' ? await ports.localRegistry?.() : undefined
    const { findEntry } = await import('../../domain/registry/registry.js')
    if (!registry || !findEntry(registry, id)) throw known
    throw new ClawctlError('UNKNOWN_TARGET', `${id} is in this checkout and not merged yet.`, {
      hint: 'Merge its entry in nix/instances.json into the deployed branch (`clawctl registry add ID --pr`) first.',
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
        throw new ClawctlError('CANCELLED', `You stopped while the request ${order.requestId} was on its way.`, {
          hint: `It may have been taken: \`clawctl fleet follow ${order.requestId}\` shows it.`,
          partial: { requestId: order.requestId },
        })
      })
      if (!options.wait) return queued
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

/** Each look but the first waits on the server until something changed: a follower costs a call each half minute. */
function longPoll(api: ControlApi, requestId: string): () => Promise<DeployDetail> {
  let seen: string | null = null
  return async () => {
    const { deploy, version } = await api.deploy(requestId, seen === null ? undefined : { wait: WAIT_SECONDS, seen })
    // A Control API of before it had versions answers at once.
    seen = version
    return deploy
  }
}
