import { setTimeout as sleep } from 'node:timers/promises'
import type { Ec2, LiveInstance } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'
import type { Change } from './plan.js'
import type { Attributes, State } from './state.js'

export interface ApplyPorts {
  ec2: Ec2
  region: string
  /** Called after everything that must not be forgotten. */
  save(state: State): Promise<void>
  say(line: string): void
  /** Aborted by an interrupt: the resource at hand is finished, the next one not begun. */
  signal: AbortSignal
}

const POLL_MS = 300
/** The real provider's time for an instance to be created or destroyed is 10 and 20 minutes. */
const WAIT_MS = 10 * 60_000
/** How often the real OpenTofu says that it is still at it. */
const STILL_MS = 10_000

/** Destroys from the leaves, creates from the roots. */
const CREATE_ORDER = ['aws_iam_role', 'aws_iam_instance_profile', 'aws_instance']

/** Does what the plan says, one resource after the other. The state is saved after each, so a run that dies resumes. */
export async function applyChanges(changes: readonly Change[], state: State, ports: ApplyPorts): Promise<void> {
  const byOrder = [...changes].sort((a, b) => CREATE_ORDER.indexOf(a.type) - CREATE_ORDER.indexOf(b.type))
  const having = (action: string) => byOrder.filter(({ change }) => change.actions.some((a) => a === action))
  const update = having('update')[0]
  if (update) {
    throw new Diagnostic(
      'The stand-in of the clawctl sandbox does not update in place',
      `${update.address} would be updated. The stand-in creates, replaces and destroys.`,
    )
  }
  const steps = [
    ...having('delete')
      .reverse()
      .map((change) => () => destroy(change, state, ports)),
    ...having('create').map((change) => () => create(change, state, ports)),
  ]
  for (const step of steps) {
    if (ports.signal.aborted) throw new Diagnostic('execution halted')
    await step()
  }
}

async function destroy(change: Change, state: State, ports: ApplyPorts): Promise<void> {
  const { type, index, address } = change
  const id = String(state.get(type, index)?.attributes.id ?? '')
  ports.say(`${address}: Destroying... [id=${id}]`)
  const begun = Date.now()
  if (type === 'aws_instance') {
    await provider(address, () => ports.ec2.terminate(id))
    await waitFor(address, 'destroying', id, ports, (instance) => instance === undefined)
  }
  state.remove(type, index)
  await record(state, ports)
  ports.say(`${address}: Destruction complete after ${seconds(begun)}`)
}

async function create(change: Change, state: State, ports: ApplyPorts): Promise<void> {
  const { type, index, address } = change
  const planned = change.change.after ?? {}
  ports.say(`${address}: Creating...`)
  const begun = Date.now()
  let attributes: Attributes
  if (type === 'aws_instance') {
    const started = await provider(address, () => ports.ec2.run(newInstance(planned)))
    // Known from here on, though not yet running: whoever kills us now must not leave an instance that nobody knows.
    state.put({ type, index, attributes: { ...planned, ...observed(started, ports.region) } })
    await record(state, ports)
    const running = await waitFor(address, 'creating', started.id, ports, (instance) => {
      if (instance) return instance.state === 'running'
      throw new Diagnostic(
        `waiting for EC2 Instance (${started.id}) create: unexpected state 'terminated', wanted target 'running'`,
        `  with ${address},`,
      )
    })
    attributes = { ...planned, ...observed(running ?? started, ports.region) }
  } else {
    const kind = type === 'aws_iam_role' ? 'role' : 'instance-profile'
    attributes = { ...planned, id: index, arn: `arn:aws:iam::000000000000:${kind}/clawdinator/${index}` }
  }
  state.put({ type, index, attributes })
  await record(state, ports)
  ports.say(`${address}: Creation complete after ${seconds(begun)} [id=${String(attributes.id)}]`)
}

function newInstance(planned: Attributes) {
  return {
    ami: String(planned.ami),
    instanceType: String(planned.instance_type),
    userData: typeof planned.user_data === 'string' ? planned.user_data : null,
    tags: planned.tags as Record<string, string>,
  }
}

function observed(instance: LiveInstance, region: string): Attributes {
  return {
    arn: `arn:aws:ec2:${region}:000000000000:instance/${instance.id}`,
    availability_zone: instance.zone,
    id: instance.id,
    instance_state: instance.state,
    private_ip: instance.privateIp,
    public_ip: instance.publicIp,
  }
}

/** The stack's one output follows from its instances. */
async function record(state: State, ports: ApplyPorts): Promise<void> {
  const instances = state.resources.filter(({ type }) => type === 'aws_instance')
  state.outputs = {
    instances: Object.fromEntries(
      instances.map(({ index, attributes: { id, ami, private_ip } }) => [
        index,
        { ami, instance_id: id ?? null, private_ip: private_ip ?? null },
      ]),
    ),
  }
  await ports.save(state)
}

async function waitFor(
  address: string,
  doing: 'creating' | 'destroying',
  id: string,
  { ec2, say }: ApplyPorts,
  done: (instance: LiveInstance | undefined) => boolean,
): Promise<LiveInstance | undefined> {
  const begun = Date.now()
  for (let still = STILL_MS; Date.now() - begun < WAIT_MS; await sleep(POLL_MS)) {
    const [instance] = await provider(address, () => ec2.describe([id]))
    if (done(instance)) return instance
    if (Date.now() - begun >= still) {
      say(`${address}: Still ${doing}... [id=${id}, ${Math.round(still / 1000)}s elapsed]`)
      still += STILL_MS
    }
  }
  throw new Diagnostic(`waiting for EC2 Instance (${id}): timeout while ${doing} it`, `  with ${address},`)
}

/** What EC2 refuses, in the way the provider reports it. */
async function provider<T>(address: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    const { name, message } = error as Error
    throw new Diagnostic(`operation error EC2: api error ${name}: ${message}`, `  with ${address},`)
  }
}

function seconds(since: number): string {
  return `${Math.round((Date.now() - since) / 1000)}s`
}
