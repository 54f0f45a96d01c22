import type {
  CancelRequest,
  Deploy,
  DeployDetail,
  Fleet,
  Freeze,
  FreezeRequest,
  HostView,
  Order,
  UnfreezeRequest,
} from '../../domain/contract/index.js'
import type { History } from './deploys.js'
import type { FollowOptions } from './followDeploy.js'
import type { OnFailure } from './ports.js'

export interface DeployOptions {
  /** Plan and guard, apply nothing. Direct plane only. */
  planOnly: boolean
  /** What to do with the host that failed. Direct plane only. */
  onFailure: OnFailure
  /** How long one host may take to become healthy. Direct plane only. */
  healthTimeoutMs: number
  /** Follow the run to its end. The direct plane always does. */
  wait: boolean
  /** How long to follow. */
  waitTimeoutMs: number
  /** One-time code of the requester. Control API only. */
  code?: string | undefined
}

/** How a command reaches the fleet: through the Control API (agents, laptops) or with AWS and OpenTofu (CI). */
export interface Plane {
  fleet(): Promise<Fleet>
  /** One instance with everything that is known of it. @throws ClawctlError UNKNOWN_TARGET */
  host(id: string): Promise<HostView>
  /**
   * Resolves when the deploy is queued (Control API), or has succeeded (direct plane, or with `wait`).
   * Otherwise rejects with the code of the outcome; the deploy so far is in the error's `partial.deploy`.
   */
  deploy(order: Order, options: DeployOptions): Promise<Deploy>
  /** Resolves with all freezes after the change. */
  freeze(request: FreezeRequest): Promise<Freeze[]>
  unfreeze(request: UnfreezeRequest): Promise<Freeze[]>
  /** Cancels a queued deploy, asks a running one to stop before its next handover. Resolves with the deploy as it was. */
  cancel(requestId: string, request: CancelRequest): Promise<Deploy>
  /** Newest first. */
  deploys(limit: number): Promise<Deploy[]>
  /** A page of the history, newest first. @param page.before cursor of the page before */
  history(page: { limit: number; before?: string }): Promise<History>
  /** Resolves when the deploy is over, also if it failed. */
  follow(options: FollowOptions): Promise<DeployDetail>
}
