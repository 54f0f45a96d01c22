import { setTimeout as sleep } from 'node:timers/promises'
import type { Cloud, Ec2, LiveGroup, LiveInstance, Rule } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'
import type { Attributes } from './state.js'

/** The sandbox's account. */
const ACCOUNT_ID = '000000000000'

/** The minimum real time of a wait, because EC2 uses other timers. */
const LEAST_MS = 15

/** The clock of one run. It only counts waits, so that a busy machine does not slow it down. */
export class Clock {
  seconds = 0
  readonly #speed: number
  readonly #signal: AbortSignal

  /** `speed`: how much faster than real time things happen here. */
  constructor(speed: number, signal: AbortSignal) {
    this.#speed = speed
    this.#signal = signal
  }

  /** Ends immediately if the run is interrupted. */
  async pass(seconds: number): Promise<void> {
    const ms = Math.max(LEAST_MS, (seconds * 1000) / this.#speed)
    if (this.#speed !== Number.POSITIVE_INFINITY) await sleep(ms, undefined, { signal: this.#signal }).catch(() => {})
    this.seconds += seconds
  }
}

/** The provider's waits: by the run's clock, until an interrupt. */
export interface Waiting {
  clock: Clock
  signal: AbortSignal
  /** Called every ten seconds of the clock. */
  still(seconds: number): void
}

export interface Operations {
  /** The current attributes in AWS; null if the object is gone. */
  read(cloud: Cloud, state: Attributes): Promise<Attributes | null>
  /** `begun` is called as soon as the object exists: an interruption after that leaves it tainted. */
  create(cloud: Cloud, planned: Attributes, begun: (known: Attributes) => void, wait: Waiting): Promise<Attributes>
  update(cloud: Cloud, before: Attributes, after: Attributes): Promise<void>
  destroy(cloud: Cloud, state: Attributes, wait: Waiting): Promise<void>
  /** The attributes with which `read` finds the object of an import. */
  imported(id: string): Attributes
}

const text = (value: unknown) => (typeof value === 'string' ? value : null)
const strings = (value: unknown) => (Array.isArray(value) ? value.map(String) : [])
const plannedTags = (attributes: Attributes) => (attributes.tags ?? {}) as Record<string, string>
const record = (tags: ReadonlyMap<string, string>) => Object.fromEntries(tags)
const removedTags = (before: Attributes, after: Attributes) =>
  Object.keys(plannedTags(before)).filter((key) => !(key in plannedTags(after)))
const tagged = (tags: Record<string, string>) => ({
  tags: Object.keys(tags).length === 0 ? null : tags,
  tags_all: tags,
})
/** The provider's form of generated names. */
const madeUpName = () => `terraform-${Date.now()}`
const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

const role: Operations = {
  async read({ iam }, state) {
    const found = await iam.getRole(String(state.id))
    if (!found) return null
    return {
      ...state,
      ...{ id: found.name, name: found.name, path: found.path, arn: found.arn, assume_role_policy: found.trust },
      ...{ permissions_boundary: found.boundary ?? state.permissions_boundary ?? null, unique_id: found.uniqueId },
      // As the provider, whichever resource the policies belong to.
      inline_policy: [...found.policies].map(([name, policy]) => ({ name, policy })),
      managed_policy_arns: [],
      ...tagged(record(found.tags)),
    }
  },
  async create({ iam }, planned) {
    const made = await iam.createRole({
      name: text(planned.name) ?? madeUpName(),
      path: String(planned.path),
      trust: String(planned.assume_role_policy),
      boundary: text(planned.permissions_boundary),
      description: text(planned.description),
      tags: plannedTags(planned),
    })
    return {
      ...planned,
      ...{ id: made.name, name: made.name, arn: made.arn, unique_id: made.uniqueId },
      ...{ create_date: made.createdAt.toISOString(), inline_policy: [], managed_policy_arns: [] },
    }
  },
  async update({ iam }, before, after) {
    const name = String(before.id)
    if (!same(before.assume_role_policy, after.assume_role_policy)) {
      await iam.updateTrust(name, String(after.assume_role_policy))
    }
    if (!same(before.permissions_boundary ?? null, after.permissions_boundary ?? null)) {
      await iam.setBoundary(name, text(after.permissions_boundary))
    }
    if (!same(before.tags, after.tags)) await iam.tagRole(name, plannedTags(after), removedTags(before, after))
  },
  async destroy({ iam }, state) {
    await iam.deleteRole(String(state.id))
  },
  imported: (id) => ({ id }),
}

const rolePolicy: Operations = {
  async read({ iam }, state) {
    const [owner = '', name = ''] = String(state.id).split(':')
    const policy = await iam.getRolePolicy(owner, name)
    return policy === null ? null : { ...state, id: `${owner}:${name}`, role: owner, name, policy }
  },
  async create({ iam }, planned) {
    const name = text(planned.name) ?? madeUpName()
    await iam.putRolePolicy(String(planned.role), name, String(planned.policy))
    return { ...planned, name, id: `${String(planned.role)}:${name}` }
  },
  async update({ iam }, before, after) {
    await iam.putRolePolicy(String(before.role), String(before.name), String(after.policy))
  },
  async destroy({ iam }, state) {
    await iam.deleteRolePolicy(String(state.role), String(state.name))
  },
  imported: (id) => ({ id }),
}

const profile: Operations = {
  async read({ iam }, state) {
    const found = await iam.getProfile(String(state.id))
    if (!found) return null
    return {
      ...state,
      ...{ id: found.name, name: found.name, path: found.path, arn: found.arn, role: found.role },
      unique_id: found.uniqueId,
      ...tagged(record(found.tags)),
    }
  },
  async create({ iam }, planned, begun) {
    const name = text(planned.name) ?? madeUpName()
    const made = await iam.createProfile({ name, path: String(planned.path), tags: plannedTags(planned) })
    const known = { ...planned, id: name, name, arn: made.arn, unique_id: made.uniqueId }
    begun(known)
    if (text(planned.role) !== null) await iam.addRole(name, String(planned.role))
    return { ...known, create_date: made.createdAt.toISOString() }
  },
  async update({ iam }, before, after) {
    const name = String(before.id)
    if (!same(before.role, after.role)) {
      if (text(before.role) !== null) await iam.removeRole(name, String(before.role))
      if (text(after.role) !== null) await iam.addRole(name, String(after.role))
    }
    if (!same(before.tags, after.tags)) await iam.tagProfile(name, plannedTags(after), removedTags(before, after))
  },
  async destroy({ iam }, state) {
    const found = await iam.getProfile(String(state.id))
    if (found?.role) await iam.removeRole(found.name, found.role)
    await iam.deleteProfile(String(state.id))
  },
  imported: (id) => ({ id }),
}

/** The provider's blocks of one direction, as single rules. */
function rulesOf(blocks: unknown): Rule[] {
  return (Array.isArray(blocks) ? (blocks as Attributes[]) : []).flatMap((block) => {
    const any = block.protocol === '-1'
    const [from, to] = any ? [null, null] : [Number(block.from_port), Number(block.to_port)]
    return [...strings(block.cidr_blocks), ...strings(block.ipv6_cidr_blocks)].map((cidr) => ({
      ...{ protocol: String(block.protocol), from, to, cidr },
    }))
  })
}

const keyOf = (rule: Rule) => JSON.stringify([rule.protocol, rule.from, rule.to, rule.cidr])

async function setRules(ec2: Ec2, id: string, direction: 'ingress' | 'egress', old: Rule[], next: Rule[]) {
  const missing = (from: Rule[], others: Rule[]) => {
    const there = new Set(others.map(keyOf))
    return from.filter((rule) => !there.has(keyOf(rule)))
  }
  const [gone, added] = [missing(old, next), missing(next, old)]
  if (gone.length > 0) await ec2.revoke(id, direction, gone)
  if (added.length > 0) await ec2.authorize(id, direction, added)
}

/** Rules equal to the state's keep the state's form. */
function seenRules(state: Attributes, group: LiveGroup, direction: 'ingress' | 'egress') {
  const keys = (rules: Rule[]) => rules.map(keyOf).sort()
  const before = state[direction]
  if (before !== undefined && same(keys(rulesOf(before)), keys(group[direction]))) return before
  return group[direction].map(({ protocol, from, to, cidr }) => ({
    ...{ protocol, from_port: from ?? 0, to_port: to ?? 0 },
    ...(cidr.includes(':') ? { ipv6_cidr_blocks: [cidr] } : { cidr_blocks: [cidr] }),
  }))
}

const securityGroup: Operations = {
  async read({ ec2 }, state) {
    const group = await ec2.describeGroup(String(state.id))
    if (!group) return null
    return {
      ...state,
      ...{ name: group.name, description: group.description, vpc_id: group.vpcId },
      ...{ ingress: seenRules(state, group, 'ingress'), egress: seenRules(state, group, 'egress') },
      ...tagged(group.tags),
    }
  },
  async create({ ec2, region }, planned, begun) {
    const name = text(planned.name) ?? madeUpName()
    const id = await ec2.createGroup({
      ...{ name, description: String(planned.description), vpcId: text(planned.vpc_id), tags: plannedTags(planned) },
    })
    const arn = `arn:aws:ec2:${region}:${ACCOUNT_ID}:security-group/${id}`
    const known = { ...planned, id, name, arn, owner_id: ACCOUNT_ID }
    begun(known)
    const made = await ec2.describeGroup(id)
    // A new EC2 group allows all egress; the provider removes that first.
    if (made && planned.egress !== undefined) {
      await setRules(ec2, id, 'egress', made.egress, rulesOf(planned.egress))
    }
    await setRules(ec2, id, 'ingress', [], rulesOf(planned.ingress))
    return { ...known, vpc_id: made?.vpcId ?? null, ingress: planned.ingress ?? [], egress: planned.egress ?? [] }
  },
  async update({ ec2 }, before, after) {
    const id = String(before.id)
    for (const direction of ['egress', 'ingress'] as const) {
      await setRules(ec2, id, direction, rulesOf(before[direction]), rulesOf(after[direction]))
    }
    if (!same(before.tags, after.tags)) await ec2.tag(id, plannedTags(after), removedTags(before, after))
  },
  async destroy({ ec2 }, state) {
    await ec2.deleteGroup(String(state.id))
  },
  imported: (id) => ({ id }),
}

const instance: Operations = {
  async read({ ec2, region }, state) {
    const [found] = await ec2.describe([String(state.id)])
    return found ? { ...state, ...observed(found, region, state) } : null
  },
  async create({ ec2, region }, planned, begun, wait) {
    const [volume] = Array.isArray(planned.root_block_device) ? (planned.root_block_device as Attributes[]) : []
    const [options = {}] = Array.isArray(planned.metadata_options) ? (planned.metadata_options as Attributes[]) : []
    const started = await ec2.run({
      ami: String(planned.ami),
      instanceType: String(planned.instance_type),
      userData: text(planned.user_data),
      profile: text(planned.iam_instance_profile),
      subnetId: text(planned.subnet_id),
      securityGroups: strings(planned.vpc_security_group_ids),
      metadata: {
        ...{ endpoint: options.http_endpoint as string, tokens: options.http_tokens as string },
        hops: options.http_put_response_hop_limit as number,
      },
      rootVolume: volume
        ? {
            ...{ encrypted: volume.encrypted as boolean, type: volume.volume_type as string },
            ...{ size: volume.volume_size as number, deleteOnTermination: volume.delete_on_termination as boolean },
          }
        : null,
      tags: plannedTags(planned),
    })
    const known = (seen: LiveInstance) => ({ ...planned, ...observed(seen, region, planned) })
    begun(known(started))
    const running = await until(wait, `EC2 Instance (${started.id}) create`, async () => {
      const [seen] = await ec2.describe([started.id])
      if (!seen) {
        throw new Diagnostic(
          `waiting for EC2 Instance (${started.id}) create: unexpected state 'terminated', wanted target 'running'`,
        )
      }
      return seen.state === 'running' ? seen : null
    })
    return known(running)
  },
  async update({ ec2 }, before, after) {
    await ec2.tag(String(before.id), plannedTags(after), removedTags(before, after))
  },
  async destroy({ ec2 }, state, wait) {
    const id = String(state.id)
    await ec2.terminate(id)
    await until(wait, `EC2 Instance (${id}) delete`, async () =>
      (await ec2.describe([id])).length === 0 ? true : null,
    )
  },
  imported: (id) => ({ id }),
}

function observed(seen: LiveInstance, region: string, state: Attributes): Attributes {
  const { endpoint, tokens, hops } = seen.metadata
  return {
    ...{ ami: seen.ami, instance_type: seen.instanceType, iam_instance_profile: seen.profile },
    ...{ subnet_id: seen.subnetId, vpc_security_group_ids: [...seen.securityGroups].sort() },
    metadata_options: [{ http_endpoint: endpoint, http_tokens: tokens, http_put_response_hop_limit: hops }],
    ...tagged(seen.tags),
    arn: `arn:aws:ec2:${region}:${ACCOUNT_ID}:instance/${seen.id}`,
    availability_zone: seen.zone,
    id: seen.id,
    instance_state: seen.state,
    private_ip: seen.privateIp,
    public_ip: seen.publicIp,
    region: state.region ?? region,
  }
}

export const OPERATIONS: Readonly<Record<string, Operations>> = {
  aws_iam_role: role,
  aws_iam_role_policy: rolePolicy,
  aws_iam_instance_profile: profile,
  aws_security_group: securityGroup,
  aws_instance: instance,
}

/** The provider's polling interval and time limit; the real limits are 10 and 20 minutes. */
const POLL_SECONDS = 2.5
const LIMIT_SECONDS = 600
const STILL_SECONDS = 10

async function until<T>({ clock, signal, still }: Waiting, what: string, look: () => Promise<T | null>): Promise<T> {
  const begun = clock.seconds
  for (let next = STILL_SECONDS; ; ) {
    if (signal.aborted) throw new Diagnostic(`waiting for ${what}: context canceled`)
    const found = await look()
    if (found !== null) return found
    const seconds = clock.seconds - begun
    if (seconds > LIMIT_SECONDS) throw new Diagnostic(`waiting for ${what}: timeout while waiting for its state`)
    if (seconds >= next) {
      still(next)
      next += STILL_SECONDS
    }
    await clock.pass(POLL_SECONDS)
  }
}
