import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'
import type { Expectation, PlanAction } from './expectation.js'
import { contentViolations } from './planContent.js'

const change = z.object({
  actions: z.array(z.string()),
  before: z.optional(z.unknown()),
  after: z.optional(z.unknown()),
  importing: z.optional(z.unknown()),
})
const resourceChange = z.object({
  address: z.string(),
  mode: z.string(),
  type: z.string(),
  index: z.optional(z.union([z.string(), z.number()])),
  previous_address: z.optional(z.string()),
  deposed: z.optional(z.string()),
  change,
})
/** The parts of `tofu show -json PLAN` that the guard reads. */
const planSchema = z.object({
  format_version: z.string(),
  errored: z.optional(z.boolean()),
  resource_changes: z.optional(z.array(resourceChange)),
  configuration: z.optional(z.unknown()),
  variables: z.optional(z.record(z.string(), z.object({ value: z.optional(z.unknown()) }))),
})
export type Plan = z.infer<typeof planSchema>
export type ResourceChange = z.infer<typeof resourceChange>

const importSchema = z.object({ id: z.string() })

export interface PlanSummary {
  changes: { address: string; action: PlanAction }[]
  /** One line a resource, without the no-ops. */
  lines: string[]
}

function actionOf(change: ResourceChange): PlanAction {
  if (change.previous_address) return 'move'
  const actions = change.change.actions.join(',')
  if (actions === 'delete,create' || actions === 'create,delete') return 'replace'
  if (actions === 'forget' || actions === 'create,forget' || actions === 'forget,create') return 'forget'
  if (['no-op', 'read', 'create', 'update', 'delete'].includes(actions)) return actions as PlanAction
  return 'unknown'
}

/** The plan's resources. @throws ClawctlError PLAN_FAILED for a plan of an unknown form */
function parsePlan(planJson: unknown): Plan {
  const parsed = planSchema.safeParse(planJson)
  if (parsed.success && parsed.data.errored !== true && /^1\./.test(parsed.data.format_version)) return parsed.data
  throw new ClawctlError(
    'PLAN_FAILED',
    "OpenTofu's plan has a form that the guard does not know, so it is not applied.",
  )
}

/** The changes of a plan, without the guard: only for reports, never to apply. @throws ClawctlError PLAN_FAILED */
export function plannedChanges(planJson: unknown): { address: string; action: PlanAction }[] {
  return (parsePlan(planJson).resource_changes ?? [])
    .map((change) => ({ address: change.address, action: actionOf(change) }))
    .filter(({ action }) => action !== 'no-op' && action !== 'read')
}

/** The violation of one change, as the end of "the plan would", or null. Unlisted changes are violations. */
function offenceOf(change: ResourceChange, action: PlanAction, expected: Expectation): string | null {
  const { address } = change
  const says = `${action} ${address}`
  if (change.mode === 'data') return action === 'read' || action === 'no-op' ? null : says
  if (change.mode !== 'managed' || change.deposed !== undefined) return says
  if (change.change.importing !== undefined) {
    const imported = importSchema.safeParse(change.change.importing)
    const id = imported.success ? imported.data.id : 'an unknown id'
    if (expected.imports.get(address) !== id) return `import ${id} as ${address}`
  }
  if (action === 'no-op' || action === 'read') return null
  return expected.allowed.get(address)?.includes(action) ? null : says
}

/**
 * Checks a saved plan before it is applied. It may do only what is expected, and must contain the change that it was made
 * for, because OpenTofu reports "No changes" for an unknown key.
 * @throws ClawctlError PLAN_OUT_OF_SCOPE with the offending addresses, PLAN_FAILED for a plan of an unknown form
 */
export function guardPlan(planJson: unknown, expected: Expectation): PlanSummary {
  const plan = parsePlan(planJson)
  const planned = plan.resource_changes ?? []
  const changes = planned.map((change) => ({ address: change.address, action: actionOf(change) }))
  const offences = planned.flatMap((change) => {
    const says = offenceOf(change, actionOf(change), expected)
    return says === null ? [] : [{ address: change.address, says }]
  })
  const content = contentViolations(plan, expected)
  const reported = new Set(content.map(({ address }) => address))
  const all = [...content, ...offences.filter(({ address }) => !reported.has(address))]
  if (all.length > 0) {
    throw new ClawctlError(
      'PLAN_OUT_OF_SCOPE',
      `The plan to ${expected.title} would also ${all.map(({ says }) => says).join(', ')}. Nothing was applied.`,
      {
        hint: changes.some(({ action, address }) => action === 'update' && all.some((one) => one.address === address))
          ? '`clawctl fleet deploy all` applies a change of the stack that concerns other hosts.'
          : 'See `clawctl fleet recover --plan-only` for the differences between state and EC2.',
        partial: { addresses: all.map(({ address }) => address) },
      },
    )
  }
  if (expected.wanted) mustHold(changes, expected.title, expected.wanted)
  return {
    changes,
    lines: planned.flatMap((change) => {
      const action = actionOf(change)
      if (change.change.importing !== undefined) return [`import ${change.address}`]
      return action === 'no-op' || action === 'read' ? [] : [`${action} ${change.address}`]
    }),
  }
}

function mustHold(changes: PlanSummary['changes'], title: string, wanted: NonNullable<Expectation['wanted']>): void {
  const { addresses, actions } = wanted
  if (changes.some((change) => addresses.includes(change.address) && actions.includes(change.action))) return
  throw new ClawctlError(
    'PLAN_OUT_OF_SCOPE',
    `The plan was to ${title}, but it does not ${actions[0]} ${addresses[0]}. Nothing was applied.`,
    {
      hint: 'State and EC2 differ for this host: `clawctl fleet recover` shows and corrects the differences.',
      partial: { addresses: [...addresses] },
    },
  )
}
