import { ClawctlError } from '../../domain/errors.js'
import { type EntryRequest, planAddition } from '../../domain/registry/addition.js'
import type { AcceptedPlan, FleetFiles } from '../../domain/registry/plan.js'
import { planRemoval } from '../../domain/registry/removal.js'

/** The requested edit: an entry to add, or the id of one to remove. */
export type AskedEdit = { kind: 'add'; entry: EntryRequest } | { kind: 'remove'; id: string }

export const idOf = (asked: AskedEdit) => (asked.kind === 'add' ? asked.entry.id : asked.id)

/** @throws ClawctlError INVALID_REGISTRY, INVALID_REQUEST, REGISTRY_CONFLICT, UNKNOWN_TARGET */
export function planEdit(asked: AskedEdit, files: FleetFiles): AcceptedPlan {
  const plan = asked.kind === 'add' ? planAddition(files, asked.entry) : planRemoval(files, asked.id)
  if (plan.kind !== 'refused') return plan
  throw new ClawctlError(plan.code, plan.message, { hint: plan.hint })
}
