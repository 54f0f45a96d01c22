import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'

/** The parts of `tofu show -json PLAN` that the guard reads. */
const planSchema = z.object({
  format_version: z.string(),
  errored: z.optional(z.boolean()),
  resource_changes: z.optional(
    z.array(
      z.object({
        address: z.string(),
        mode: z.string(),
        type: z.string(),
        index: z.optional(z.union([z.string(), z.number()])),
        previous_address: z.optional(z.string()),
        change: z.object({
          actions: z.array(z.string()),
          before: z.optional(z.unknown()),
          after: z.optional(z.unknown()),
          importing: z.optional(z.unknown()),
        }),
        action_reason: z.optional(z.string()),
      }),
    ),
  ),
})
type ResourceChange = NonNullable<z.infer<typeof planSchema>['resource_changes']>[number]

export const INSTANCE_TYPE = 'aws_instance'
/** What the fleet stack makes for each host beside its instance. */
const PER_HOST_TYPES = new Set(['aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile'])
/** What it makes once, for all hosts. */
const SHARED_TYPES = new Set(['aws_security_group'])
export const instanceAddress = (id: string) => `aws_instance.clawdinator["${id}"]`

export type PlanAction = 'no-op' | 'read' | 'create' | 'update' | 'delete' | 'replace' | 'forget' | 'move' | 'unknown'

export interface PlannedChange {
  address: string
  action: PlanAction
  allowed: boolean
}

export interface PlanSummary {
  changes: PlannedChange[]
  /** One line a resource, without the no-ops. */
  lines: string[]
}

function actionOf(change: ResourceChange): PlanAction {
  const actions = change.change.actions.join(',')
  if (actions === 'delete,create' || actions === 'create,delete') return 'replace'
  if (actions === 'forget' || actions === 'create,forget' || actions === 'forget,create') return 'forget'
  if (actions === 'no-op' && change.previous_address) return 'move'
  if (['no-op', 'read', 'create', 'update', 'delete'].includes(actions)) return actions as PlanAction
  return 'unknown'
}

export interface GuardScope {
  /** The host whose turn it is. */
  id: string
  action: 'create' | 'replace' | 'retire'
  /** Every host that the request names; this one alone where it is left out. */
  scope?: readonly string[]
}

/** Default deny: what is not listed here is not applied. `hosts`: the keys that have an instance in the plan. */
function isAllowed(
  change: ResourceChange,
  action: PlanAction,
  wanted: GuardScope,
  hosts: ReadonlySet<unknown>,
): boolean {
  if (change.mode !== 'managed' || change.change.importing)
    return (action === 'read' || action === 'no-op') && change.mode === 'data'
  if (action === 'no-op' || action === 'read') return true
  if (wanted.action === 'retire') return isOfRetired(change, action, wanted.id)
  if (change.type === INSTANCE_TYPE) {
    return change.address === instanceAddress(wanted.id) && (action === 'create' || action === 'replace')
  }
  if (SHARED_TYPES.has(change.type) && change.index === undefined) return action === 'create' || action === 'update'
  if (!PER_HOST_TYPES.has(change.type) || typeof change.index !== 'string') return false
  if (change.index === wanted.id) return ['create', 'update', 'replace', 'delete'].includes(action)
  // What a run left behind that died before its host existed: nobody's machine uses it.
  if (action === 'delete') return !hosts.has(change.index)
  return action === 'update' && (wanted.scope?.includes(change.index) || changesTagsAlone(change))
}

/** Nothing but the end of what belongs to this one id. */
function isOfRetired(change: ResourceChange, action: PlanAction, id: string): boolean {
  if (action !== 'delete' || change.index !== id) return false
  return change.address === instanceAddress(id) || PER_HOST_TYPES.has(change.type)
}

function changesTagsAlone({ change }: ResourceChange): boolean {
  const rest = (side: unknown) => {
    const { tags: _, tags_all: __, ...others } = (side ?? {}) as Record<string, unknown>
    return JSON.stringify(others)
  }
  return change.before != null && change.after != null && rest(change.before) === rest(change.after)
}

/** The plan's resources. @throws ClawctlError PLAN_FAILED for a plan of an unknown form */
function parsePlan(planJson: unknown): ResourceChange[] {
  const parsed = planSchema.safeParse(planJson)
  if (parsed.success && parsed.data.errored !== true && /^1\./.test(parsed.data.format_version)) {
    return parsed.data.resource_changes ?? []
  }
  throw new ClawctlError(
    'PLAN_FAILED',
    "OpenTofu's plan has a form that the guard does not know, so it is not applied.",
  )
}

/** What a plan would change, guarded by nobody: to look at, never to apply. @throws ClawctlError PLAN_FAILED */
export function plannedChanges(planJson: unknown): { address: string; action: PlanAction }[] {
  return parsePlan(planJson)
    .map((change) => ({ address: change.address, action: actionOf(change) }))
    .filter(({ action }) => action !== 'no-op' && action !== 'read')
}

/**
 * Looks at a saved plan before it is applied. Allows a creation or replacement (or, to retire it, the destruction) of
 * exactly the named host's instance, and what belongs to it; demands that this instance *is* in the plan, because OpenTofu answers "No changes" to a
 * `-replace` with an unknown key.
 *
 * @throws ClawctlError PLAN_OUT_OF_SCOPE with the offending addresses, PLAN_FAILED for a plan of an unknown form
 */
export function guardPlan(planJson: unknown, wanted: GuardScope): PlanSummary {
  const planned = parsePlan(planJson)
  const hosts = new Set(planned.filter((change) => change.type === INSTANCE_TYPE).map((change) => change.index))
  const changes = planned.map((change) => {
    const action = actionOf(change)
    return { address: change.address, action, allowed: isAllowed(change, action, wanted, hosts) }
  })
  const summary: PlanSummary = {
    changes,
    lines: changes.filter((c) => c.action !== 'no-op' && c.action !== 'read').map((c) => `${c.action} ${c.address}`),
  }
  const offending = changes.filter((c) => !c.allowed)
  if (offending.length > 0) {
    throw new ClawctlError(
      'PLAN_OUT_OF_SCOPE',
      `The plan for ${wanted.id} would also ${offending.map((c) => `${c.action} ${c.address}`).join(', ')}. Nothing was applied.`,
      {
        hint: offending.every((c) => c.action === 'update')
          ? 'This change of the stack concerns other hosts, too: deploy all to apply it.'
          : 'Reconcile the state and the code for these addresses first, then deploy again.',
        partial: { addresses: offending.map((c) => c.address) },
      },
    )
  }
  if (wanted.action === 'retire') {
    if (summary.lines.length > 0) return summary
    throw new ClawctlError('PLAN_OUT_OF_SCOPE', `The plan holds nothing of ${wanted.id}. Nothing was applied.`, {
      hint: 'There is nothing left to retire: see `clawctl fleet status`.',
    })
  }
  const address = instanceAddress(wanted.id)
  const own = changes.filter((c) => c.address === address)
  const found = own.length > 1 ? 'unknown' : own[0]?.action
  // An instance that EC2 lost is created although a replacement was asked for, and the other way round is refused.
  if (!(found === 'create' || (found === 'replace' && wanted.action === 'replace'))) {
    throw new ClawctlError(
      'PLAN_OUT_OF_SCOPE',
      `The plan was to ${wanted.action} ${address}, but it ${found ? `would ${found}` : 'does not hold'} it. Nothing was applied.`,
      {
        hint: 'The state and EC2 disagree about this host: see docs/RUNBOOK.md, "The plan does not hold the host".',
        partial: { addresses: [address] },
      },
    )
  }
  return summary
}
