import { ADOPTED_AS } from './leftovers.js'
import { type Change, type FleetState, ID_TYPES, idAddress, instanceAddress } from './slots.js'

export type PlanAction = 'no-op' | 'read' | 'create' | 'update' | 'delete' | 'replace' | 'forget' | 'move' | 'unknown'

/** Objects outside the state, by the key that they get there: `adopt` of the fleet stack. */
export interface Adoption {
  instances: Readonly<Record<string, string>>
  roles: Readonly<Record<string, string>>
  role_policies: Readonly<Record<string, string>>
  profiles: Readonly<Record<string, string>>
  /** EC2's id of the fleet's group; null if it need not be adopted. */
  security_group: string | null
}

export const NO_ADOPTION: Adoption = { instances: {}, roles: {}, role_policies: {}, profiles: {}, security_group: null }

/** What a plan may do, by address. Other addresses must not change. */
export interface Expectation {
  /** For messages: "create clawdinator-2 in slot b". */
  title: string
  allowed: ReadonlyMap<string, readonly PlanAction[]>
  /** The plan must contain one of these, because OpenTofu reports "No changes" for an unknown key. Null: it need not. */
  wanted: { addresses: readonly string[]; actions: readonly PlanAction[] } | null
  /** Address → the provider's id with which it may be imported. */
  imports: ReadonlyMap<string, string>
  /** Ids whose role may change, with the bootstrap prefixes that it may give access to. */
  prefixes: ReadonlyMap<string, readonly string[]>
}

export const SECURITY_GROUP = 'aws_security_group.clawdinator'

/**
 * Everything that a plan for this change may do:
 * - the change itself: create, destroy or replace exactly one machine
 * - create or correct role, policy and profile of every id in scope
 * - remove machines from the state that are gone from EC2
 * - create or correct the shared security group
 * - import exactly the adopted objects
 * @param scope ids that the request names, and ids that a killed deploy left incomplete
 * @param gone EC2 instance ids that no longer exist
 * @param prefixes bootstrap prefixes of the ids in scope, from the registry
 */
export function expectPlan(input: {
  change: Change
  scope: readonly string[]
  state: FleetState
  gone: ReadonlySet<string>
  adopt: Adoption
  prefixes: Readonly<Record<string, string>>
}): Expectation {
  const { change, scope, state, gone, adopt } = input
  const allowed = new Map<string, PlanAction[]>()
  const allow = (address: string, ...actions: PlanAction[]) =>
    allowed.set(address, [...(allowed.get(address) ?? []), ...actions])

  const retired = change.kind === 'retire' ? change.id : null
  if (retired === null) {
    allow(SECURITY_GROUP, 'create', 'update')
    for (const id of scope) for (const type of ID_TYPES) allow(idAddress(type, id), 'create', 'update')
  }
  for (const [id, placed] of state) {
    for (const { slot, instanceId } of placed) {
      if (gone.has(instanceId ?? '')) allow(instanceAddress(id, slot), 'delete')
    }
  }
  const prefixes = new Map(
    scope.map((id) => {
      const known = [input.prefixes[id], ...(state.get(id) ?? []).map(({ prefix }) => prefix)]
      return [id, [...new Set(known.filter((prefix) => typeof prefix === 'string'))]] as const
    }),
  )
  const imports = new Map<string, string>()
  for (const type of ID_TYPES) {
    for (const [id, name] of Object.entries(adopt[ADOPTED_AS[type]])) imports.set(idAddress(type, id), name)
  }
  if (adopt.security_group !== null) imports.set(SECURITY_GROUP, adopt.security_group)
  for (const [key, instanceId] of Object.entries(adopt.instances)) {
    imports.set(`aws_instance.clawdinator["${key}"]`, instanceId)
  }
  return { ...wantedOf(), allowed, imports, prefixes }

  function wantedOf(): Pick<Expectation, 'title' | 'wanted'> {
    if (change.kind === 'none') return { title: 'change no machine', wanted: null }
    if (change.kind === 'retire') {
      const { id } = change
      const addresses = [
        instanceAddress(id, 'a'),
        instanceAddress(id, 'b'),
        ...ID_TYPES.map((type) => idAddress(type, id)),
      ]
      for (const address of addresses) allow(address, 'delete')
      return { title: `retire ${id}`, wanted: { addresses, actions: ['delete'] } }
    }
    const { id, slot } = change
    const address = instanceAddress(id, slot)
    const actions = { create: ['create'], destroy: ['delete'], replace: ['replace', 'create'] } as const
    allow(address, ...actions[change.kind])
    // During a replacement no machine needs the role.
    if (change.kind === 'replace') for (const type of ID_TYPES) allow(idAddress(type, id), 'replace')
    return {
      title: `${change.kind} ${id} in slot ${slot}`,
      wanted: { addresses: [address], actions: actions[change.kind] },
    }
  }
}
