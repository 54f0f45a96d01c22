import type { Deploy, DeployHost, HOST_STEPS, HostEvidence, Order } from '../../domain/contract/index.js'
import type { FleetImage } from '../../domain/deploy/image.js'
import type { IdType } from '../../domain/deploy/leftovers.js'
import type { Run } from '../../domain/deploy/run.js'
import type { StateLock } from '../../domain/deploy/stateLock.js'
import type { ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Clock, Compute, ObjectStore, Progress, Tofu } from '../ports.js'

/** Parameters of RunInstances, as a plan has them. What the plan does not know yet is left out. */
export interface LaunchParameters {
  ami: string
  instanceType: string
  subnetId: string | null
  securityGroupIds: readonly string[]
  profile: string | null
  /** Text, not base64. */
  userData: string | null
  rootGib: number | null
  /** Device of the root volume; null where the image does not say. */
  rootDevice: string | null
  tags: Readonly<Record<string, string>>
}

/** EC2's own hands on single machines. */
export interface Machines {
  stop(instanceId: string): Promise<void>
  start(instanceId: string): Promise<void>
  /** It is not an error when there is none. */
  terminate(instanceId: string): Promise<void>
  /** What EC2 says against such a launch, or null. Capacity is not looked at. */
  dryRun(parameters: LaunchParameters): Promise<{ denied: boolean; reason: string } | null>
  /** Marks an AMI as failed in the deploy with this request id. */
  markFailed(ami: string, requestId: string): Promise<void>
}

/** What the fleet stack makes beside machines, looked up by name: a deploy that was killed leaves it outside of the state. */
export interface StackObjects {
  /** Which of these the id has, under the stack's path and with its tags. */
  ofId(id: string, types: readonly IdType[]): Promise<IdType[]>
  /** EC2's id of the fleet's group, or null. */
  securityGroup(): Promise<string | null>
}

/** The locks of the OpenTofu state: an object beside it, and an item where there is a lock table. */
export interface StateLocks {
  /** Those that stand in either place. */
  held(): Promise<StateLock[]>
  /** Takes both for this process. Null where they are ours now, else the one that is in the way. */
  take(): Promise<StateLock | null>
  /** Releases what is ours, or the lock with this id, wherever it stands. It is not an error when there is none. */
  release(id?: string): Promise<void>
}

/** A workflow run by its id, of whatever workflow; null where GitHub does not know it. */
export interface RunLookup {
  find(runId: number): Promise<Run | null>
}

/** What keeps two runs from one state, and a run that was killed from locking out the next. */
export interface LockPorts {
  locks: StateLocks
  /** Null where there is no credential to ask GitHub with. */
  runs: RunLookup | null
  clock: Clock
  progress: Progress
}

/** Posts the end of a deploy where people hear of it. Never rejects: what went wrong, one clause each. */
export type Announce = (deploy: Deploy) => Promise<string[]>

export interface HostDeployPorts {
  compute: Compute
  machines: Machines
  store: ObjectStore
  tofu: Tofu
  stack: StackObjects
  clock: Clock
  /** Goes on after an interruption: for what has to be brought to its end all the same. */
  tidyClock: Clock
  progress: Progress
  /** A fresh path for a saved plan. */
  planFile(id: string): string
}

export type OnFailure = 'rollback' | 'stop'

/** What is the same for every host of one deploy. */
export interface Rollout {
  requestId: string
  configRevision?: Order['configRevision']
  registry: Registry
  /** Ids that the request names. */
  scope: readonly string[]
  planOnly: boolean
  onFailure: OnFailure
  healthTimeoutMs: number
  /** Called with the guarded plan of a host, one line a resource. */
  onPlan(lines: readonly string[]): void
}

/** One host's turn. */
export interface HostTurn {
  id: string
  image: FleetImage
  /** Keeps what was seen of a machine that did not pass. */
  witness(evidence: HostEvidence): Promise<void>
  /** Says where it is: a step, and the newest clause of it. */
  at(step: DeployStep, clause?: string): Promise<void>
}

export type DeployStep = (typeof HOST_STEPS)[number]

type HostEnd = Pick<DeployHost, 'outcome' | 'ami' | 'instanceId'>
export type HostResult = { ok: true; host: HostEnd } | { ok: false; host: HostEnd; error: ClawctlError }
