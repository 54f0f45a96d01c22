/** An id has two places for a machine: the one that serves has one of them, its successor boots in the other. */
export const SLOTS = ['a', 'b'] as const
export type Slot = (typeof SLOTS)[number]

export const INSTANCE_TYPE = 'aws_instance'
/** What the fleet stack makes for each id beside its machines, by resource type. */
export const ID_TYPES = ['aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile'] as const

/** Key of the stack's `for_each`: the id for slot a, which is the address of a fleet that knows no slots. */
export const slotKey = (id: string, slot: Slot) => (slot === 'a' ? id : `${id}/${slot}`)
export const instanceAddress = (id: string, slot: Slot = 'a') => `${INSTANCE_TYPE}.clawdinator["${slotKey(id, slot)}"]`
export const idAddress = (type: (typeof ID_TYPES)[number], id: string) => `${type}.clawdinator["${id}"]`

/** Null for what is no machine of the fleet stack. */
export function parseInstanceAddress(address: string): { id: string; slot: Slot } | null {
  const [, id, slot] = /^aws_instance\.clawdinator\["([^"/]+)(?:\/(b))?"\]$/.exec(address) ?? []
  return id === undefined ? null : { id, slot: slot === 'b' ? 'b' : 'a' }
}

/** A resource of the OpenTofu state, as far as anyone here looks at it. */
export interface StateResource {
  address: string
  /** The provider's id, an EC2 instance id for a machine; null where there is none. */
  id: string | null
  /** Tags as of the last refresh, where the resource has some. */
  tags?: Readonly<Record<string, string>>
  /** OpenTofu was interrupted while it made it, and would replace it with the next plan. */
  tainted?: boolean
}

/** A machine that the state has. */
export interface Placed {
  slot: Slot
  instanceId: string | null
  /** Bootstrap prefix that it was launched with: the stack's own tag says it. */
  prefix: string | null
}

export type FleetState = ReadonlyMap<string, readonly Placed[]>

/** The machines of the state by id. An id of which only a role or profile is left has none. */
export function machinesInState(resources: readonly StateResource[]): FleetState {
  const machines = new Map<string, Placed[]>()
  for (const { address, id: instanceId, tags } of resources) {
    const machine = parseInstanceAddress(address)
    const id = machine?.id ?? new RegExp(`^(?:${ID_TYPES.join('|')})\\.clawdinator\\["([^"]+)"\\]$`).exec(address)?.[1]
    if (id === undefined) continue
    const placed = machines.get(id) ?? []
    machines.set(id, placed)
    if (!machine) continue
    const prefix = tags?.['clawdinator:bootstrap-prefix'] || null
    placed.push({ slot: machine.slot, instanceId, prefix })
  }
  return machines
}

export const placedAt = (state: FleetState, id: string, slot: Slot) =>
  state.get(id)?.find((machine) => machine.slot === slot)

/** What one plan is made for: one machine more, one less, or none. */
export type Change =
  | { kind: 'create' | 'destroy' | 'replace'; id: string; slot: Slot }
  | { kind: 'retire'; id: string }
  | { kind: 'none' }

/** Variables of a plan that say which machines there are to be. */
export interface PlanInputs {
  instances: string[]
  slots: Record<string, Slot[]>
  /** Bootstrap prefixes of the ids whose machine stays the one it is. */
  kept: Record<string, string>
}

/**
 * The input of a plan, from the state always: what the state has stays, whatever the registry says, and the change comes
 * on top. A machine that EC2 has lost has no slot any more, so that no plan makes it again unless it is the change.
 * @param gone EC2 instance ids that EC2 does not have any more
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
    // A new machine reads the bundle that the registry names, and its predecessor has read its own.
    const prefix = (stays[0] ?? placed[0])?.prefix
    if (prefix && created.length === 0) kept[id] = prefix
  }
  return { instances: [...ids].sort(), slots, kept }
}
