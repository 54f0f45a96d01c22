import type { Cloud } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'
import { plain, type Value } from './evaluate.js'
import { Module } from './module.js'
import { type Change, configuredBody } from './plan.js'
import { Provider } from './provider.js'
import type { Clock, Waiting } from './resources.js'
import type { Stack } from './stack.js'
import type { Attributes, Resource, State } from './state.js'
import type { Variables } from './variables.js'

export interface ApplyPorts {
  cloud: Cloud
  /** Called after every change of the state, which is written at intervals and at the end. */
  changed(): Promise<void>
  say(line: string): void
  /** Aborted by an interrupt: a resource that is being created stays tainted, and no further one is started. */
  signal: AbortSignal
  clock: Clock
}

/** Applies the plan to `state`, one resource after the other: destroys dependents first, creates dependencies first. */
export async function applyChanges(
  changes: readonly Change[],
  { stack, variables }: { stack: Stack; variables: Variables },
  state: State,
  ports: ApplyPorts,
): Promise<void> {
  const run = new Run({ stack, variables }, state, ports)
  for (const { address, type, name, index = null, change } of changes) {
    if (change.importing && change.before) {
      state.put({ type, name, index, attributes: change.before, dependencies: run.dependencies({ type, name }) })
      run.publish(`${type}.${name}`)
      ports.say(`${address}: Import complete [id=${change.importing.id}]`)
    }
  }
  const having = (action: string) => changes.filter(({ change }) => change.actions.some((a) => a === action))
  const rank = new Map([...stack.resources.keys()].map((resource, place) => [resource, place]))
  // Resources that the stack no longer declares are destroyed first: no other one depends on them.
  const place = ({ type, name }: Change) => rank.get(`${type}.${name}`) ?? Number.POSITIVE_INFINITY
  const steps = [
    ...having('delete')
      .sort((a, b) => place(b) - place(a))
      .map((change) => () => run.destroy(change)),
    ...changes
      .filter(({ change }) => change.actions.some((action) => action === 'create' || action === 'update'))
      .map((change) => () => (change.change.actions.includes('create') ? run.create(change) : run.update(change))),
  ]
  for (const step of steps) {
    if (ports.signal.aborted) throw new Diagnostic('execution halted')
    await step()
  }
  state.outputs = plain(run.outputs()) as Attributes
}

class Run {
  readonly #stack: Stack
  readonly #module: Module
  readonly #state: State
  readonly #ports: ApplyPorts

  constructor({ stack, variables }: { stack: Stack; variables: Variables }, state: State, ports: ApplyPorts) {
    this.#stack = stack
    this.#module = new Module(stack, variables)
    this.#state = state
    this.#ports = ports
    for (const address of stack.resources.keys()) this.publish(address)
  }

  dependencies({ type, name }: Pick<Change, 'type' | 'name'>): readonly string[] {
    return this.#stack.resources.get(`${type}.${name}`)?.dependsOn ?? []
  }

  outputs() {
    return this.#module.outputs()
  }

  async destroy({ type, address }: Change): Promise<void> {
    const { say, changed } = this.#ports
    const attributes = this.#state.get(address)?.attributes ?? {}
    const id = String(attributes.id ?? '')
    say(`${address}: Destroying... [id=${id}]`)
    const begun = this.#ports.clock.seconds
    await this.#provider(`${address}: Still destroying... [id=${id}`).destroy(type, address, attributes)
    this.#state.remove(address)
    await changed()
    say(`${address}: Destruction complete after ${this.#seconds(begun)}`)
  }

  async create(change: Change): Promise<void> {
    const { type, name, index = null, address } = change
    const { say, changed, signal } = this.#ports
    say(`${address}: Creating...`)
    const begun = this.#ports.clock.seconds
    const resource = (attributes: Attributes): Resource => ({
      ...{ type, name, index, attributes, dependencies: this.dependencies(change) },
    })
    // The state has it as soon as it exists, tainted until it is complete.
    const known = (attributes: Attributes) => this.#state.put({ ...resource(attributes), tainted: true })
    const provider = this.#provider(`${address}: Still creating... [`)
    const made = await provider.create(type, address, this.#planned(change), known)
    if (signal.aborted && type !== 'aws_instance') throw new Diagnostic('execution halted')
    this.#state.put(resource(made))
    this.publish(`${type}.${name}`)
    await changed()
    say(`${address}: Creation complete after ${this.#seconds(begun)} [id=${String(made.id)}]`)
  }

  async update(change: Change): Promise<void> {
    const { type, name, address } = change
    const resource = this.#state.get(address)
    if (!resource) throw new Diagnostic('Provider produced inconsistent result', `${address} is not in the state.`)
    const after = this.#planned(change)
    const begun = this.#ports.clock.seconds
    this.#ports.say(`${address}: Modifying... [id=${String(resource.attributes.id)}]`)
    await this.#provider('').update(type, address, resource.attributes, after)
    this.#state.put({ ...resource, attributes: after })
    this.publish(`${type}.${name}`)
    await this.#ports.changed()
    this.#ports.say(`${address}: Modifications complete after ${this.#seconds(begun)} [id=${String(after.id)}]`)
  }

  /** The planned values, with the values that were unknown then. */
  #planned(planned: Change): Attributes {
    const { type, name, index = null, address, change } = planned
    const configured = this.#stack.resources.get(`${type}.${name}`)
    const scope = configured && this.#module.expand(configured).find((one) => one.index === index)?.scope
    if (!configured || !scope) throw new Diagnostic('Saved plan does not match the stack', `It has no ${address}.`)
    const unknown = Object.keys(change.after_unknown)
    const body = unknown.length > 0 ? configuredBody(configured, scope, address) : {}
    const now = Object.fromEntries(unknown.flatMap((key) => (key in body ? [[key, body[key] as Value]] : [])))
    return { ...change.after, ...(plain(now) as Attributes) }
  }

  /** Makes the attributes available to other resources. */
  publish(resource: string): void {
    const [type, name] = resource.split('.')
    const all = this.#state.resources.filter((one) => one.type === type && one.name === name)
    const each = this.#stack.resources.get(resource)?.forEach
    const values = Object.fromEntries(
      all.map(({ index, attributes }) => [index ?? '', attributes as { [k: string]: Value }]),
    )
    const [only] = all
    if (each) this.#module.put(resource, values)
    else if (only) this.#module.put(resource, only.attributes as { [k: string]: Value })
  }

  #provider(still: string): Provider {
    const { cloud, say, signal, clock } = this.#ports
    const wait: Waiting = { clock, signal, still: (seconds) => say(`${still}${seconds}s elapsed]`) }
    return new Provider(cloud, wait)
  }

  #seconds(since: number): string {
    return `${Math.round(this.#ports.clock.seconds - since)}s`
  }
}
