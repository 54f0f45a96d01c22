import { ClawctlError } from '../../domain/errors.js'
import { type EntryRequest, planAddition } from '../../domain/registry/addition.js'
import { type AcceptedPlan, type FleetFiles, unifiedDiff } from '../../domain/registry/plan.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import { planRemoval } from '../../domain/registry/removal.js'
import type { Checkout } from './ports.js'

/** The requested edit: an entry to add, or the id of one to remove. */
export type AskedEdit = { kind: 'add'; entry: EntryRequest } | { kind: 'remove'; id: string }

export const idOf = (asked: AskedEdit) => (asked.kind === 'add' ? asked.entry.id : asked.id)

/** @throws ClawctlError INVALID_REGISTRY, INVALID_REQUEST, REGISTRY_CONFLICT, UNKNOWN_TARGET */
export function planEdit(asked: AskedEdit, files: FleetFiles): AcceptedPlan {
  const plan = asked.kind === 'add' ? planAddition(files, asked.entry) : planRemoval(files, asked.id)
  if (plan.kind !== 'refused') return plan
  throw new ClawctlError(plan.code, plan.message, { hint: plan.hint })
}

/** The result of an edit, for people and for --json. */
export interface EditResult {
  instance: RegistryEntry
  /** `unchanged`: it exists as requested. `planned`: a dry run, or proposed by a pull request. */
  status: 'written' | 'unchanged' | 'planned' | 'proposed'
  files: { path: string; change: 'created' | 'modified' | 'deleted' }[]
  /** Unified diff; empty if nothing changes. */
  diff: string
  notes: readonly string[]
}

export function resultOf(plan: AcceptedPlan, status: EditResult['status']): EditResult {
  if (plan.kind === 'nothing') return { instance: plan.entry, status: 'unchanged', files: [], diff: '', notes: [] }
  const files = plan.changes.map(({ path, before, after }) => {
    return { path, change: before === null ? 'created' : after === null ? 'deleted' : 'modified' } as const
  })
  return { instance: plan.entry, status, files, diff: unifiedDiff(plan.changes), notes: plan.notes }
}

/** Edits the registry of the checkout, or with `dryRun` only plans the edit. @throws as planEdit and Checkout do */
export async function editRegistry(asked: AskedEdit, dryRun: boolean, checkout: Checkout): Promise<EditResult> {
  const id = idOf(asked)
  const plan = (files: FleetFiles) => planEdit(asked, files)
  if (dryRun) return resultOf(plan(await checkout.read(id)), 'planned')
  return resultOf(await checkout.edit(id, plan), 'written')
}
