/** The two places for machines of an id: the active machine has one, the candidate boots in the other. */
export const SLOTS = ['a', 'b'] as const
export type Slot = (typeof SLOTS)[number]

/** Tags of a machine; the prefix is that of its launch. */
export const ID_TAG = 'clawdinator:id'
export const SLOT_TAG = 'clawdinator:slot'
export const PREFIX_TAG = 'clawdinator:bootstrap-prefix'
export const INSTANCE_TYPE = 'aws_instance'
/** The resources of the fleet stack for each id, other than machines. */
export const ID_TYPES = ['aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile'] as const

/** Key of the stack's `for_each`: for slot a the id alone, as before slots existed. */
export const slotKey = (id: string, slot: Slot) => (slot === 'a' ? id : `${id}/${slot}`)
export const instanceAddress = (id: string, slot: Slot = 'a') => `${INSTANCE_TYPE}.clawdinator["${slotKey(id, slot)}"]`
export const idAddress = (type: (typeof ID_TYPES)[number], id: string) => `${type}.clawdinator["${id}"]`

/** Null if it is not the address of a machine of the fleet stack. */
export function parseInstanceAddress(address: string): { id: string; slot: Slot } | null {
  const [, id, slot] = /^aws_instance\.clawdinator\["([^"/]+)(?:\/(b))?"\]$/.exec(address) ?? []
  return id === undefined ? null : { id, slot: slot === 'b' ? 'b' : 'a' }
}

/** A resource of the OpenTofu state, with the values that are used here. */
export interface StateResource {
  address: string
  /** The provider's id (for a machine, the EC2 instance id), or null. */
  id: string | null
  /** Tags at the last refresh, if any. */
  tags?: Readonly<Record<string, string>>
  /** Its creation was interrupted, and OpenTofu would replace it with the next plan. */
  tainted?: boolean
}

/** A machine of the state. */
export interface Placed {
  slot: Slot
  instanceId: string | null
  /** Bootstrap prefix at its launch, from the stack's own tag. */
  prefix: string | null
}

export type FleetState = ReadonlyMap<string, readonly Placed[]>

/** The machines of the state by id. An id with only a role or profile has an empty list. */
export function machinesInState(resources: readonly StateResource[]): FleetState {
  const machines = new Map<string, Placed[]>()
  for (const { address, id: instanceId, tags } of resources) {
    const machine = parseInstanceAddress(address)
    const id = machine?.id ?? new RegExp(`^(?:${ID_TYPES.join('|')})\\.clawdinator\\["([^"]+)"\\]$`).exec(address)?.[1]
    if (id === undefined) continue
    const placed = machines.get(id) ?? []
    machines.set(id, placed)
    if (!machine) continue
    const prefix = tags?.[PREFIX_TAG] || null
    placed.push({ slot: machine.slot, instanceId, prefix })
  }
  return machines
}

export const placedAt = (state: FleetState, id: string, slot: Slot) =>
  state.get(id)?.find((machine) => machine.slot === slot)

/** The purpose of one plan: create, destroy or replace one machine, retire an id, or no change of machines. */
export type Change =
  | { kind: 'create' | 'destroy' | 'replace'; id: string; slot: Slot }
  | { kind: 'retire'; id: string }
  | { kind: 'none' }

/** Variables of a plan that list the machines. */
export interface PlanInputs {
  instances: string[]
  slots: Record<string, Slot[]>
  /** Bootstrap prefixes of the ids whose machine does not change. */
  kept: Record<string, string>
}

/**
 * The input of a plan: the machines of the state, not of the registry, with the change applied. A machine that is gone is
 * left out, so that a plan creates it again only if that is the change.
 * @param gone EC2 instance ids that no longer exist
 */
export function planInputs(state: FleetState, gone: ReadonlySet<string>, change: Change): PlanInputs {
  const turn = 'slot' in change ? change : null
  const ids = new Set(state.keys())
  if (turn) ids.add(turn.id)
  if (change.kind === 'retire') ids.delete(change.id)
  const slots: Record<string, Slot[]> = {}
  const kept: Record<string, string> = {}
  for (const id of ids) {
    const placed = state.get(id) ?? []
    const changed = turn?.id === id ? turn : null
    const stays = placed.filter(({ slot, instanceId }) => slot !== changed?.slot && !gone.has(instanceId ?? ''))
    const created = changed && changed.kind !== 'destroy' ? [changed.slot] : []
    slots[id] = [...stays.map(({ slot }) => slot), ...created].sort()
    // A new machine uses the prefix of the registry; the old machine has read its bundle already.
    const prefix = (stays[0] ?? placed[0])?.prefix
    if (prefix && created.length === 0) kept[id] = prefix
  }
  return { instances: [...ids].sort(), slots, kept }
}
