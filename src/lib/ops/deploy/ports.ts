import type { Deploy, DeployHost, HOST_STEPS, HostEvidence, Order } from '../../domain/contract/index.js'
import type { FleetImage } from '../../domain/deploy/image.js'
import type { IdType } from '../../domain/deploy/leftovers.js'
import type { Run } from '../../domain/deploy/run.js'
import type { StateLock } from '../../domain/deploy/stateLock.js'
import type { ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Clock, Compute, ObjectStore, Progress, Tofu } from '../ports.js'

/** Parameters of RunInstances, from a plan. Values that the plan does not know yet are left out. */
export interface LaunchParameters {
  ami: string
  instanceType: string
  subnetId: string | null
  securityGroupIds: readonly string[]
  profile: string | null
  /** Text, not base64. */
  userData: string | null
  rootGib: number | null
  /** Device of the root volume; null if the image does not name it. */
  rootDevice: string | null
  tags: Readonly<Record<string, string>>
}

export interface Machines {
  stop(instanceId: string): Promise<void>
  start(instanceId: string): Promise<void>
  /** Not an error if it does not exist. */
  terminate(instanceId: string): Promise<void>
  /** Why EC2 would refuse the launch, or null. Does not check capacity. */
  dryRun(parameters: LaunchParameters): Promise<{ denied: boolean; reason: string } | null>
  /** Marks an AMI as failed in the deploy with this request id. */
  markFailed(ami: string, requestId: string): Promise<void>
}

/** Objects of the fleet stack other than machines, looked up by name: a killed deploy may leave them outside the state. */
export interface StackObjects {
  /** Which of these the id has, under the stack's path and with its tags. */
  ofId(id: string, types: readonly IdType[]): Promise<IdType[]>
  /** EC2's id of the fleet's group, or null. */
  securityGroup(): Promise<string | null>
}

/** The locks of the OpenTofu state: an object beside it, and an item if there is a lock table. */
export interface StateLocks {
  /** What the locks of this process name as their holder's run; empty outside of a workflow. */
  readonly run: string
  /** The locks that are held in either place. */
  held(): Promise<StateLock[]>
  /** Takes both for this process. Null on success, else the lock of another process. */
  take(): Promise<StateLock | null>
  /** Releases this process's locks, or the lock with this id. Not an error if there is none. */
  release(id?: string): Promise<void>
  /**
   * Removes the lock table's digest of the state if another state is stored, because the writer ended in between. Only while
   * this process holds the lock. Whether it was removed.
   */
  dropStaleDigest(): Promise<boolean>
  /** Whether it would remove one. */
  hasStaleDigest(): Promise<boolean>
}

/** A run of any workflow by its id; null if GitHub does not know it. */
export interface RunLookup {
  find(runId: number): Promise<Run | null>
}

export interface LockPorts {
  locks: StateLocks
  /** Null without a GitHub credential. */
  runs: RunLookup | null
  clock: Clock
  progress: Progress
}

/** Posts the outcome of a deploy to the webhooks. Never rejects; resolves with the failures, one clause each. */
export type Announce = (deploy: Deploy) => Promise<string[]>

export interface HostDeployPorts {
  compute: Compute
  machines: Machines
  store: ObjectStore
  tofu: Tofu
  stack: StackObjects
  clock: Clock
  /** Not interrupted by a signal: for work that has to be finished. */
  tidyClock: Clock
  progress: Progress
  /** A fresh path for a saved plan. */
  planFile(id: string): string
}

export type OnFailure = 'rollback' | 'stop'

/** Common to every host of one deploy. */
export interface Rollout {
  requestId: string
  configRevision?: Order['configRevision']
  registry: Registry
  /** Ids that the request names. */
  scope: readonly string[]
  planOnly: boolean
  onFailure: OnFailure
  healthTimeoutMs: number
  /** Called with the guarded plan of a host, one line per resource. */
  onPlan(lines: readonly string[]): void
}

export interface HostTurn {
  id: string
  image: FleetImage
  /** Stores the evidence about a machine that did not pass its gate. */
  keepEvidence(evidence: HostEvidence): Promise<void>
  /** Reports the current step, and its newest clause. */
  at(step: DeployStep, clause?: string): Promise<void>
}

export type DeployStep = (typeof HOST_STEPS)[number]

type HostEnd = Pick<DeployHost, 'outcome' | 'ami' | 'instanceId'>
export type HostResult = { ok: true; host: HostEnd } | { ok: false; host: HostEnd; error: ClawctlError }
