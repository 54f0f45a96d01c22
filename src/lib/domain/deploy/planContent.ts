import * as z from 'zod/mini'
import { parseJson } from '../json.js'
import type { Expectation } from './expectation.js'
import type { Plan, ResourceChange } from './planGuard.js'
import { ID_TAG, INSTANCE_TYPE, SLOT_TAG } from './slots.js'

export interface Violation {
  address: string
  /** The end of "the plan would". */
  says: string
}

const lenient = <T extends z.ZodMiniType>(schema: T) => z.catch(z.nullish(schema), null)
const moduleSchema: z.ZodMiniType<Module> = z.object({
  resources: z.optional(
    z.array(
      z.object({
        address: z.string(),
        provisioners: z.optional(z.array(z.unknown())),
        expressions: z.optional(z.record(z.string(), z.unknown())),
      }),
    ),
  ),
  get module_calls() {
    return z.optional(z.record(z.string(), z.object({ module: z.optional(moduleSchema) })))
  },
})
interface Module {
  resources?: { address: string; provisioners?: unknown[]; expressions?: Record<string, unknown> }[]
  module_calls?: Record<string, { module?: Module }>
}
const configurationSchema = z.object({ root_module: z.optional(moduleSchema) })

/** Violations inside resources that may change: programs that would run, open ports, wider permissions. */
export function contentViolations(plan: Plan, expected: Expectation): Violation[] {
  return [
    ...provisioners(plan.configuration),
    ...(plan.resource_changes ?? []).flatMap((change) => within(change, plan, expected)),
    ...twice(plan.resource_changes ?? []),
  ]
}

function provisioners(configuration: unknown): Violation[] {
  if (configuration === undefined) return []
  const parsed = configurationSchema.safeParse(configuration)
  if (!parsed.success)
    return [{ address: 'configuration', says: 'run what its configuration holds, which has an unknown form' }]
  const below = (module: Module | undefined, path: string): Violation[] => [
    ...(module?.resources ?? [])
      .filter((resource) => (resource.provisioners ?? []).length > 0)
      .map(({ address }) => ({ address: path + address, says: `run a provisioner of ${path}${address}` })),
    ...Object.entries(module?.module_calls ?? {}).flatMap(([name, call]) =>
      below(call.module, `${path}module.${name}.`),
    ),
  ]
  return below(parsed.data.root_module, '')
}

const machineId = z.object({ id: z.string() })

/** OpenTofu allows one machine at two addresses, and destroys it when one of them is removed. */
function twice(changes: readonly ResourceChange[]): Violation[] {
  const seen = new Map<string, string>()
  return changes.flatMap(({ address, type, mode, change }) => {
    if (type !== INSTANCE_TYPE || mode !== 'managed') return []
    const id = (machineId.safeParse(change.importing).data ?? machineId.safeParse(change.before).data)?.id
    if (id === undefined) return []
    const other = seen.get(id)
    seen.set(id, address)
    return other === undefined ? [] : [{ address, says: `have ${id} as ${address} and as ${other}` }]
  })
}

function within(resource: ResourceChange, plan: Plan, expected: Expectation): Violation[] {
  const { address, type, change } = resource
  const offence = (says: string) => [{ address, says: `${says} (${address})` }]
  if (type === INSTANCE_TYPE && change.importing !== undefined)
    return wrongMachine(change.before, address).flatMap(offence)
  if (!change.actions.some((action) => action === 'create' || action === 'update')) return []
  const after = z.record(z.string(), z.unknown()).safeParse(change.after).data ?? {}
  if (type.includes('security_group')) return opensIngress(resource, after) ? offence('open ingress') : []
  if (type === INSTANCE_TYPE) return wrongMachine(after, address).flatMap(offence)
  if (type === 'aws_iam_role') return widensTrust(change.before, after) ? offence('widen who may take a role') : []
  if (type === 'aws_iam_role_policy') {
    const id = String(resource.index)
    const prefixes = expected.prefixes.get(id) ?? []
    return isOwnPolicy(after.policy, { id, prefixes, bucket: plan.variables?.bucket?.value })
      ? []
      : offence('widen a role policy')
  }
  return []
}

/** The group allows no traffic in; a separate rule resource would open it, too. */
function opensIngress({ type }: ResourceChange, after: Record<string, unknown>): boolean {
  if (type !== 'aws_security_group') return /ingress/.test(type) || after.type !== 'egress'
  return !isEmptyList(after.ingress)
}

/** A machine's tags must have the id and slot of its address, because people and health checks use the tags. */
function wrongMachine(machine: unknown, address: string): string[] {
  const tags = z.object({ tags: z.record(z.string(), z.unknown()) }).safeParse(machine).data?.tags ?? {}
  const id = tags[ID_TAG]
  const slot = tags[SLOT_TAG]
  const key = slot === 'b' ? `${String(id)}/b` : String(id)
  return address === `${INSTANCE_TYPE}.clawdinator["${key}"]` ? [] : [`have a machine with the tags of ${key}`]
}

const trustSchema = z.object({
  Statement: z.array(
    z.strictObject({
      Sid: z.optional(z.string()),
      Effect: z.literal('Allow'),
      Action: z.union([z.literal('sts:AssumeRole'), z.tuple([z.literal('sts:AssumeRole')])]),
      Principal: z.strictObject({ Service: z.string().check(z.regex(/^ec2\.amazonaws\.com(?:\.cn)?$/)) }),
      Condition: z.optional(z.unknown()),
    }),
  ),
})
const isEmptyList = (value: unknown) => value == null || (Array.isArray(value) && value.length === 0)

const rights = z.object({
  permissions_boundary: lenient(z.string()),
  inline_policy: z.optional(z.unknown()),
  managed_policy_arns: z.optional(z.unknown()),
})

/** Only EC2 may assume the role, the plan adds no further policies, and its boundary does not change. */
function widensTrust(before: unknown, after: Record<string, unknown>): boolean {
  const had = rights.safeParse(before).data
  if (had?.permissions_boundary && after.permissions_boundary !== had.permissions_boundary) return true
  // The lists are computed. A plan leaves out those of a new role; those of an existing one are what IAM has, the stack's own
  // policy among them.
  const adds = (list: 'inline_policy' | 'managed_policy_arns') =>
    !isEmptyList(after[list]) && JSON.stringify(after[list]) !== JSON.stringify(had?.[list])
  if (adds('inline_policy') || adds('managed_policy_arns')) return true
  return !trustSchema.safeParse(documentOf(after.assume_role_policy)).success
}

const texts = z.union([z.string(), z.array(z.string())])
const policySchema = z.object({
  Statement: z.array(
    z.strictObject({
      Sid: z.optional(z.string()),
      Effect: z.literal('Allow'),
      Action: texts,
      Resource: texts,
      Condition: z.optional(z.record(z.string(), z.record(z.string(), texts))),
    }),
  ),
})
type Statement = z.infer<typeof policySchema>['Statement'][number]

/** What is absent is one entry that nothing allows. */
const list = (value: string | string[] | undefined) => [value ?? ''].flat()

/**
 * The permissions that the fleet stack gives a host, and no others: read its own bundle and active/<id>.json, write its own
 * heartbeats, use the bucket's key through S3.
 */
function isOwnPolicy(policy: unknown, own: { id: string; prefixes: readonly string[]; bucket: unknown }): boolean {
  const parsed = policySchema.safeParse(documentOf(policy))
  if (!parsed.success) return false
  const bucket = typeof own.bucket === 'string' ? escaped(own.bucket) : '[a-z0-9.-]+'
  const arn = (path: string) => new RegExp(`^arn:aws[a-z-]*:s3:::${bucket}${escaped(path)}$`)
  const readable = [...own.prefixes.map((prefix) => `/${prefix}/*`), `/active/${own.id}.json`]
  const within = (statement: Statement, paths: readonly string[]) =>
    list(statement.Resource).every((resource) => paths.some((path) => arn(path).test(resource)))
  return parsed.data.Statement.every((statement) =>
    list(statement.Action).every((action) => {
      if (action === 's3:GetObject') return within(statement, readable)
      if (action === 's3:PutObject') return within(statement, [`/heartbeats/${own.id}/*`])
      if (action === 's3:ListBucket') {
        const listed = list(
          statement.Condition?.StringLike?.['s3:prefix'] ?? statement.Condition?.StringEquals?.['s3:prefix'],
        )
        return within(statement, ['']) && listed.length > 0 && listed.every((prefix) => readable.includes(`/${prefix}`))
      }
      if (action !== 'kms:Decrypt' && action !== 'kms:GenerateDataKey') return false
      const through = list(statement.Condition?.StringEquals?.['kms:ViaService'])
      return through.length > 0 && through.every((service) => /^s3\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/.test(service))
    }),
  )
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
const documentOf = (value: unknown) => (typeof value === 'string' ? parseJson(value) : undefined)
