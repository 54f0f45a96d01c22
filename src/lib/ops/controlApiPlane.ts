import type { Check, Deploy, DeployDetail, DeployRequest, Fleet } from '../domain/contract.js'
import { ClawctlError, withPartial } from '../domain/errors.js'
import { withoutSteps } from '../domain/run.js'
import { followDeploy } from './followDeploy.js'
import type { Plane } from './plane.js'
import type { Clock, Progress } from './ports.js'

/** The Control API's routes. Rejects with the code that the server answered, or UPSTREAM where it could not be reached. */
export interface ControlApi {
  fleet(): Promise<Fleet>
  createDeploy(request: DeployRequest & { requestId: string }): Promise<Deploy>
  deploys(limit: number): Promise<Deploy[]>
  deploy(requestId: string): Promise<DeployDetail>
  /** What only the server can see of a flight's preconditions. */
  preflight(): Promise<Check[]>
}

/** How an agent or a laptop reaches the fleet: by asking. */
export function controlApiPlane(ports: { api: ControlApi; clock: Clock; progress: Progress }): Plane {
  const { api, clock, progress } = ports
  const follow = (requestId: string, timeoutMs: number, justAsked = false) =>
    followDeploy({ ask: () => api.deploy(requestId), clock, progress }, timeoutMs, { justAsked })
  return {
    fleet: () => api.fleet(),
    deploys: (limit) => api.deploys(limit),
    follow: (requestId, timeoutMs) => follow(requestId, timeoutMs),
    async deploy(request, options) {
      const queued = await api.createDeploy(request)
      if (!options.wait) return queued
      progress.note(`queued as ${queued.requestId}${queued.runUrl ? `: ${queued.runUrl}` : ''}`)
      try {
        return successOrThrow(await follow(queued.requestId, options.waitTimeoutMs, true))
      } catch (error) {
        if (error instanceof ClawctlError && !error.partial?.deploy) throw withPartial(error, { deploy: queued })
        throw error
      }
    },
  }
}

/** @throws ClawctlError with the code of the deploy's outcome */
export function successOrThrow(detail: DeployDetail): Deploy {
  const deploy = withoutSteps(detail)
  if (deploy.error === null) return deploy
  const { code, message, hint } = deploy.error
  throw new ClawctlError(code, message, { hint, partial: { deploy } })
}
