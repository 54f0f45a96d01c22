import { ADOPTED_AS } from './leftovers.js'
import { type Change, type FleetState, ID_TYPES, idAddress, instanceAddress } from './slots.js'

export type PlanAction = 'no-op' | 'read' | 'create' | 'update' | 'delete' | 'replace' | 'forget' | 'move' | 'unknown'

/** What exists and is not in the state, by the key that it gets there: `adopt` of the fleet stack. */
export interface Adoption {
  instances: Readonly<Record<string, string>>
  roles: Readonly<Record<string, string>>
  role_policies: Readonly<Record<string, string>>
  profiles: Readonly<Record<string, string>>
  /** EC2's id of the fleet's group; null where there is nothing to adopt. */
  security_group: string | null
}

export const NO_ADOPTION: Adoption = { instances: {}, roles: {}, role_policies: {}, profiles: {}, security_group: null }

/** What a plan may do, address by address. What is not listed may only stay as it is. */
export interface Expectation {
  /** For messages: "create clawdinator-2 in slot b". */
  title: string
  allowed: ReadonlyMap<string, readonly PlanAction[]>
  /** One of these has to be in the plan: OpenTofu answers "No changes" to a key that it does not know. Null: nothing has to. */
  wanted: { addresses: readonly string[]; actions: readonly PlanAction[] } | null
  /** Address → the provider's id that it may be imported with. */
  imports: ReadonlyMap<string, string>
  /** Ids whose role may change, with the bootstrap prefixes that it may give access to. */
  prefixes: ReadonlyMap<string, readonly string[]>
}

export const SECURITY_GROUP = 'aws_security_group.clawdinator'

/**
 * Everything that a plan for this change may do.
 * - the change itself: exactly one machine created, destroyed or replaced
 * - of every id that the request names: its role, policy and profile created or mended
 * - of any machine that EC2 has lost: its end in the state
 * - the shared security group created or mended
 * - imports of exactly what is adopted
 * @param scope ids whose role, policy and profile may be made: those that the request names, and those that a deploy which was killed left incomplete
 * @param gone EC2 instance ids that EC2 does not have any more
 * @param prefixes what the registry says of the ids in scope
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
    // Whatever is replaced has nothing left that needs its role meanwhile.
    if (change.kind === 'replace') for (const type of ID_TYPES) allow(idAddress(type, id), 'replace')
    return {
      title: `${change.kind} ${id} in slot ${slot}`,
      wanted: { addresses: [address], actions: actions[change.kind] },
    }
  }
}
