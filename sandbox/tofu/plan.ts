import { MODELLED_TYPES, retained, type Stack } from './stack.js'
import type { Attributes, Resource, State } from './state.js'
import { addressOf, PROVIDER, resourcesJson, TOFU_VERSION, typeOf } from './state.js'
import type { Variables } from './variables.js'

export type Action = 'no-op' | 'create' | 'update' | 'delete'

export interface Change {
  address: string
  mode: 'managed'
  type: string
  name: 'clawdinator'
  index: string
  provider_name: string
  change: {
    actions: Action[]
    before: Attributes | null
    after: Attributes | null
    after_unknown: Attributes
    before_sensitive: Attributes | false
    after_sensitive: Attributes | false
    replace_paths?: string[][]
  }
  action_reason?: string
}

export interface PlanOptions {
  /** Addresses given with -replace. */
  replace: readonly string[]
  destroy: boolean
}

/** Attributes that EC2 or IAM give: unknown before the resource exists. */
const COMPUTED: Readonly<Record<string, readonly string[]>> = {
  aws_instance: ['arn', 'availability_zone', 'id', 'instance_state', 'private_ip', 'public_ip'],
  aws_iam_role: ['arn', 'id'],
  aws_iam_instance_profile: ['arn', 'id'],
}

/** What the stack's files say the resources of one id should be. Of each attribute that matters to a plan, not of all. */
export function configured(stack: Stack, variables: Variables, id: string): Resource[] {
  const host = stack.registry().get(id) ?? retained(id)
  const shared = { name: id, path: '/clawdinator/', tags: { app: 'clawdinator', 'clawdinator:id': id } }
  const userData = stack.userData({
    instance_name: id,
    bootstrap_prefix: host.bootstrapPrefix,
    control_api_url: String(variables.get('control_api_url') ?? ''),
    bucket: String(variables.get('bucket') ?? ''),
    host: host.host,
  })
  const instance = {
    ami: variables.get('ami_id'),
    iam_instance_profile: id,
    instance_type: host.instanceType,
    region: variables.get('region') ?? null,
    tags: {
      Name: id,
      app: 'clawdinator',
      'clawdinator:bootstrap-prefix': host.bootstrapPrefix,
      'clawdinator:id': id,
    },
    user_data: userData,
  }
  return [
    { type: 'aws_iam_role', index: id, attributes: shared },
    { type: 'aws_iam_instance_profile', index: id, attributes: { ...shared, role: id } },
    { type: 'aws_instance', index: id, attributes: instance },
  ]
}

/** What `for_each` holds: the given ids, else every entry of the registry. */
function managedIds(stack: Stack, variables: Variables): string[] {
  const given = variables.get('instance_ids')
  return Array.isArray(given) ? given.map(String) : [...stack.registry().keys()].sort()
}

/** Compares the refreshed state with the stack's files. Sorted by address, as OpenTofu lists changes. */
export function planChanges(stack: Stack, variables: Variables, prior: State, options: PlanOptions): Change[] {
  const ids = options.destroy ? [] : managedIds(stack, variables)
  const wanted = ids.flatMap((id) => configured(stack, variables, id))
  const kept = new Set(wanted.map(addressOf))
  const removed = prior.resources.filter((resource) => !kept.has(addressOf(resource)))
  return [
    ...wanted.map((resource) => compare(stack, resource, prior, options.replace.includes(addressOf(resource)))),
    ...removed.map((resource) =>
      change(resource, ['delete'], resource.attributes, null, options.destroy ? undefined : 'delete_because_each_key'),
    ),
  ].sort((a, b) => (a.address < b.address ? -1 : 1))
}

function compare(stack: Stack, wanted: Resource, prior: State, forced: boolean): Change {
  const before = prior.get(wanted.type, wanted.index)?.attributes
  if (!before) return change(wanted, ['create'], null, wanted.attributes)
  if (forced) return change(wanted, ['delete', 'create'], before, wanted.attributes, 'replace_by_request')
  const differing = Object.keys(wanted.attributes).filter(
    (name) => JSON.stringify(before[name] ?? null) !== JSON.stringify(wanted.attributes[name] ?? null),
  )
  const counted = differing.filter((name) => wanted.type !== 'aws_instance' || !stack.ignores(name))
  if (counted.includes('ami')) {
    const replaced = change(wanted, ['delete', 'create'], before, wanted.attributes, 'replace_because_cannot_update')
    return { ...replaced, change: { ...replaced.change, replace_paths: [['ami']] } }
  }
  const updates = Object.fromEntries(counted.map((name) => [name, wanted.attributes[name]]))
  return change(wanted, [counted.length > 0 ? 'update' : 'no-op'], before, { ...before, ...updates })
}

function change(
  resource: Resource,
  actions: Action[],
  before: Attributes | null,
  after: Attributes | null,
  reason?: string,
): Change {
  const computed = actions.includes('create') ? (COMPUTED[resource.type] ?? []) : []
  return {
    address: addressOf(resource),
    mode: 'managed',
    type: resource.type,
    name: 'clawdinator',
    index: resource.index,
    provider_name: PROVIDER,
    change: {
      actions,
      before,
      after,
      after_unknown: Object.fromEntries(computed.map((name) => [name, true])),
      before_sensitive: before ? {} : false,
      after_sensitive: after ? {} : false,
    },
    ...(reason === undefined ? {} : { action_reason: reason }),
  }
}

/** What a refresh found: resources of the state that are no more. */
export function driftOf(state: State, gone: ReadonlySet<string>): Change[] {
  return state.resources
    .filter((resource) => gone.has(addressOf(resource)))
    .map((resource) => change(resource, ['delete'], resource.attributes, null))
}

/** The plan as `tofu show -json FILE` prints it. */
export function planJson(
  stack: Stack,
  variables: Variables,
  prior: State,
  changes: readonly Change[],
  drift: readonly Change[],
): Attributes {
  const after = changes.flatMap(({ type, index, change: { after } }) =>
    after ? [{ type, index, attributes: after }] : [],
  )
  const touched = changes.some(({ change: { actions } }) => !actions.includes('no-op'))
  const instances = prior.outputs.instances ?? null
  return {
    format_version: '1.2',
    terraform_version: TOFU_VERSION,
    variables: Object.fromEntries([...variables].map(([name, value]) => [name, { value }])),
    planned_values: {
      outputs: { instances: touched ? { sensitive: false } : output(instances) },
      root_module: { resources: resourcesJson(after) },
    },
    ...(drift.length > 0 ? { resource_drift: drift } : {}),
    resource_changes: changes,
    output_changes: {
      instances: {
        actions: [touched ? (instances === null ? 'create' : 'update') : 'no-op'],
        before: instances,
        ...(touched ? {} : { after: instances }),
        after_unknown: touched,
        before_sensitive: false,
        after_sensitive: false,
      },
    },
    prior_state: prior.toJson(),
    configuration: {
      provider_config: { aws: { name: 'aws', full_name: PROVIDER } },
      root_module: {
        resources: MODELLED_TYPES.map((type) => ({
          address: `${type}.clawdinator`,
          mode: 'managed',
          type,
          name: 'clawdinator',
          provider_config_key: 'aws',
          for_each_expression: {},
        })),
        variables: Object.fromEntries(stack.variables.map(({ name }) => [name, {}])),
      },
    },
    relevant_attributes: [{ resource: 'aws_instance.clawdinator', attribute: [] }],
    timestamp: `${new Date().toISOString().slice(0, 19)}Z`,
    errored: false,
  }
}

function output(value: unknown): Attributes {
  return { sensitive: false, type: typeOf(value), value }
}
