import type { Cloud } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'
import { OPERATIONS, type Operations, type Waiting } from './resources.js'
import { typeOf } from './schema.js'
import type { Attributes } from './state.js'

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** The minimum time of the real operations, in seconds of the clock, so that tests can kill a run meanwhile. Instances take EC2's time. */
const SECONDS = { iam: 1, group: 3 } as const

/** The provider's operations on one resource. @throws Diagnostic with the provider's text for refusals of AWS */
export class Provider {
  readonly #cloud: Cloud
  readonly #wait: Waiting

  constructor(cloud: Cloud, wait: Waiting) {
    this.#cloud = cloud
    this.#wait = wait
  }

  read(type: string, address: string, state: Attributes): Promise<Attributes | null> {
    return explained(type, `reading ${KINDS[type]}`, address, () => of(type).read(this.#cloud, state))
  }

  /** @throws Diagnostic if nothing has this id */
  async import(type: string, address: string, id: string): Promise<Attributes> {
    const found = await this.read(type, address, of(type).imported(id))
    // Attributes that AWS does not store have their defaults.
    if (found) return { ...typeOf(type).defaults, ...found }
    throw new Diagnostic(
      'Cannot import non-existent remote object',
      `While attempting to import an existing object to "${address}", the provider detected that no object exists with the given id. Only pre-existing objects can be imported; check that the id is correct and that it is associated with the provider's configured region or endpoint, or use "tofu apply" to create a new remote object for this resource.`,
    )
  }

  async create(type: string, address: string, planned: Attributes, begun: (known: Attributes) => void) {
    const made = await explained(type, `creating ${KINDS[type]}`, address, () =>
      of(type).create(this.#cloud, planned, begun, this.#wait),
    )
    if (type !== 'aws_instance') {
      begun(made)
      await this.#take(type)
    }
    return made
  }

  async update(type: string, address: string, before: Attributes, after: Attributes): Promise<void> {
    const differing = Object.keys(after).filter((name) => name !== 'tags_all' && !same(before[name], after[name]))
    const fixed = differing.find((name) => !typeOf(type).updates.includes(name))
    if (fixed !== undefined) {
      throw new Diagnostic(
        'The stand-in of the clawctl sandbox does not update this in place',
        `${address} would get another ${fixed}. Of ${type} the stand-in updates ${typeOf(type).updates.join(', ')}.`,
      )
    }
    await explained(type, `updating ${KINDS[type]}`, address, () => of(type).update(this.#cloud, before, after))
    await this.#take(type)
  }

  destroy(type: string, address: string, state: Attributes): Promise<void> {
    return explained(type, `deleting ${KINDS[type]}`, address, () => of(type).destroy(this.#cloud, state, this.#wait))
  }

  #take(type: string): Promise<void> {
    return this.#wait.clock.pass(type.startsWith('aws_iam_') ? SECONDS.iam : SECONDS.group)
  }
}

const KINDS: Readonly<Record<string, string>> = {
  aws_iam_role: 'IAM Role',
  aws_iam_role_policy: 'IAM Role Policy',
  aws_iam_instance_profile: 'IAM Instance Profile',
  aws_security_group: 'Security Group',
  aws_instance: 'EC2 Instance',
}

function of(type: string): Operations {
  typeOf(type)
  return OPERATIONS[type] as Operations
}

async function explained<T>(type: string, doing: string, address: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof Diagnostic) throw new Diagnostic(error.summary, error.detail || `  with ${address},`)
    const { name, code, message } = error as Error & { code?: string }
    const service = type.startsWith('aws_iam_') ? 'IAM' : 'EC2'
    const refusal = name === 'AwsError' && code ? code : name.replace(/Exception$/, '')
    throw new Diagnostic(`${doing}: operation error ${service}: api error ${refusal}: ${message}`, `  with ${address},`)
  }
}
