import { unifiedDiff } from '../../domain/registry/diff.js'
import type { AcceptedPlan, FleetFiles } from '../../domain/registry/plan.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import { type AskedEdit, idOf, planEdit } from './planEdit.js'
import type { Checkout } from './ports.js'

/** What an edit came to, for people and for --json. */
export interface EditResult {
  instance: RegistryEntry
  /** `unchanged`: it is there as asked for. `planned`: a dry run, or what a pull request proposes. */
  status: 'written' | 'unchanged' | 'planned' | 'proposed'
  files: { path: string; change: 'created' | 'modified' | 'deleted' }[]
  /** Unified; empty where nothing changes. */
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

/** Edits the registry of the checkout, or with `dryRun` says what it would come to. @throws what planEdit and Checkout throw */
export async function editRegistry(asked: AskedEdit, dryRun: boolean, checkout: Checkout): Promise<EditResult> {
  const id = idOf(asked)
  const plan = (files: FleetFiles) => planEdit(asked, files)
  if (dryRun) return resultOf(plan(await checkout.read(id)), 'planned')
  return resultOf(await checkout.edit(id, plan), 'written')
}
