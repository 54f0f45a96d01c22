import type { Order } from '../domain/contract/index.js'
import type { Adoption } from '../domain/deploy/expectation.js'
import type { Host } from '../domain/deploy/host.js'
import type { FleetImage } from '../domain/deploy/image.js'
import type { Job, Run } from '../domain/deploy/run.js'
import type { PlanInputs, StateResource } from '../domain/deploy/slots.js'
import type { StateHead } from '../domain/deploy/stateLock.js'

/**
 * The ports of the use-cases, each as narrow as they need it. Adapters implement them; only cli/context.ts and
 * lambda/context.ts construct adapters. Every method that reaches a service rejects with ClawctlError
 * (UPSTREAM, DENIED, RATE_LIMITED, NOT_CONFIGURED) after its own bounded retries; there is no second retry layer.
 */

export interface Clock {
  now(): Date
  /** Resolves after `ms` milliseconds, or rejects with CANCELLED when the process is being stopped. */
  sleep(ms: number): Promise<void>
}

export interface Compute {
  /** Every instance tagged app=clawdinator that is not terminated. */
  describeHosts(): Promise<Host[]>
  /** The serial console's output, as far as EC2 has it; empty if there is none. */
  console(instanceId: string): Promise<string>
  /**
   * One instance by its id, with any tags. EC2 is eventually consistent: null, like absence from
   * `describeHosts`, does not mean that an instance is gone; only `terminated` does.
   */
  describeHost(instanceId: string): Promise<Host | 'terminated' | null>
  /** The image in any state, or null if there is none. */
  findImage(id: string): Promise<FleetImage | null>
  /** Every image of this account with the tag `clawdinator`. */
  fleetImages(): Promise<FleetImage[]>
}

export interface ObjectInfo {
  key: string
  size: number
  modifiedAt: Date
}

export interface ListOptions {
  /** At most this many, in as few requests as possible. */
  atMost?: number
  /** Leaves out keys with a further `/`. */
  flat?: boolean
  /** Only keys that follow this one. */
  after?: string
}

/** How many objects are read concurrently: enough for speed, without too many sockets. */
export const AT_ONCE = 32

export interface ObjectStore {
  /** Content as text with its entity tag, or null if the object does not exist. */
  get(key: string): Promise<{ text: string; etag: string } | null>
  put(key: string, text: string): Promise<void>
  /** Writes only if the object has this entity tag, or with null only if it does not exist; false otherwise. */
  putIf(key: string, text: string, etag: string | null): Promise<boolean>
  /** Not an error if it does not exist. */
  delete(key: string): Promise<void>
  /** In the order of the keys. */
  list(prefix: string, options?: ListOptions): Promise<ObjectInfo[]>
}

export interface RegistrySource {
  /** `origin` is the source of the text, for error messages. @throws ClawctlError REGISTRY_NOT_FOUND */
  read(): Promise<{ text: string; origin: string }>
}

export interface PlanRequest extends PlanInputs {
  /** Path of the saved plan. */
  file: string
  ami: string
  /** Id of the request that the plan's machines are made for, or null. */
  requestId: string | null
  /** What new machines of this plan switch to; absent is the stack's default, their image's. */
  configRevision?: Order['configRevision']
  adopt: Adoption
  /** Address to replace, or null. */
  replace: string | null
}

/** It takes no lock: callers that change something hold the lock of the state (`withStateLock`). */
export interface Tofu {
  /** @throws ClawctlError TOOL_MISSING, PLAN_FAILED */
  init(): Promise<void>
  state(): Promise<StateResource[]>
  /** Lineage and serial of the stored state; null if there is none. */
  head(): Promise<StateHead | null>
  /** Saves a plan into `file` and returns its JSON (`tofu show -json FILE`), not yet checked. @throws PLAN_FAILED */
  plan(request: PlanRequest): Promise<unknown>
  /** Applies exactly the saved plan. @throws APPLY_FAILED */
  apply(file: string): Promise<void>
  /** Untaints a resource, so that OpenTofu does not replace it. @throws ClawctlError APPLY_FAILED */
  untaint(address: string): Promise<void>
  /** Stores a state; OpenTofu refuses an older one, and one of another lineage. @throws ClawctlError APPLY_FAILED */
  push(state: string): Promise<void>
  /** The state that an apply could not store, from the file that OpenTofu left; null if there is none. */
  unwritten(): Promise<{ file: string; text: string } | null>
  /** Removes that file. */
  dropUnwritten(): Promise<void>
}

/** The workflow's runs on GitHub. */
export interface Runs {
  /** Starts a run; null if GitHub did not name the run. */
  dispatch(order: Order): Promise<{ id: number; url: string } | null>
  /** Newest first. @param before only those that were created by then */
  list(limit: number, before?: Date): Promise<Run[]>
  jobs(runId: number): Promise<Job[]>
  /** Not an error if the run is over. */
  cancel(runId: number): Promise<void>
}

/** Progress of one task; `say` replaces its newest clause. */
export type Shown<T> = (say: (text: string) => void) => Promise<T>

/** Shown to people on stderr, silent under --json. */
export interface Progress {
  /** Runs `work` under a title. */
  task<T>(title: string, work: Shown<T>): Promise<T>
  /** Shows items, such as the hosts of a rollout, from the first step of the first to the end of `work`. Lists and tasks do not nest. */
  list<T>(items: readonly string[], work: (list: ItemProgress) => Promise<T>): Promise<T>
  note(text: string): void
}

/** The items of a list, each with its steps (plan, apply, boot, health), their times and the newest clause. */
export interface ItemProgress {
  /** Runs one step of an item. A step that rejects does not end the item: a rollback may follow. */
  step<T>(item: string, name: string, work: Shown<T>): Promise<T>
  /** Ends an item; `failure` is one clause. Items without an end when the list ends count as skipped. */
  end(item: string, failure?: string): void
}

/** The step summary and outputs of the CI job; does nothing elsewhere. */
export interface JobReport {
  summary(markdown: string): Promise<void>
  output(name: string, value: string): Promise<void>
}
