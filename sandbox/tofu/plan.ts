import { Diagnostic } from './diagnostic.js'
import { evaluate, evaluateBody, type Mapping, plain, same, UNKNOWN, type Value } from './evaluate.js'
import type { Expression } from './hcl.js'
import { Module } from './module.js'
import { checkBody, typeOf } from './schema.js'
import type { Configured, Stack } from './stack.js'
import type { Attributes, Resource, State } from './state.js'
import { addressOf, ctyOf, PROVIDER, resourcesJson, TOFU_VERSION } from './state.js'
import type { Variables } from './variables.js'

export type Action = 'no-op' | 'create' | 'update' | 'delete'

export interface Change {
  address: string
  mode: 'managed'
  type: string
  name: string
  index?: string
  provider_name: string
  change: {
    actions: Action[]
    before: Attributes | null
    after: Attributes | null
    after_unknown: Attributes
    before_sensitive: Attributes | false
    after_sensitive: Attributes | false
    replace_paths?: string[][]
    importing?: { id: string }
  }
  action_reason?: string
}

export interface PlanOptions {
  /** Addresses given with -replace. */
  replace: readonly string[]
  destroy: boolean
  /** Reads the object of an `import` block. */
  import(type: string, address: string, id: string): Promise<Attributes>
}

/** The configuration of one resource with values and defaults; values may be unknown. @throws Diagnostic */
export function configuredBody(configured: Configured, scope: Parameters<typeof evaluateBody>[1], address: string) {
  return checkBody(address, configured.type, evaluateBody(configured.body, scope))
}

/** Compares the refreshed state with the stack. In the order of the stack: dependencies first. */
export async function planChanges(
  stack: Stack,
  variables: Variables,
  prior: State,
  options: PlanOptions,
): Promise<Change[]> {
  const module = new Module(stack, variables)
  const imports = options.destroy ? new Map<string, string>() : importsOf(stack, module)
  const changes: Change[] = []
  const wanted = new Set<string>()
  for (const [resource, configured] of stack.resources) {
    const values: Mapping = {}
    for (const { index, scope } of options.destroy ? [] : module.expand(configured)) {
      const identity = { type: configured.type, name: configured.name, index }
      const address = addressOf(identity)
      wanted.add(address)
      const body = configuredBody(configured, scope, address)
      module.check(configured.preconditions, scope, 'Resource precondition failed')
      const importId = prior.get(address) ? undefined : imports.get(address)
      const before: Resource | undefined =
        importId === undefined
          ? prior.get(address)
          : { ...identity, attributes: await options.import(configured.type, address, importId) }
      const change = compare(configured, identity, body, before, options.replace.includes(address))
      if (importId !== undefined) change.change.importing = { id: importId }
      changes.push(change)
      const value = knownAfter(change)
      if (index === null) module.put(resource, value)
      else values[index] = value
    }
    if (configured.forEach !== null) module.put(resource, values)
  }
  for (const address of imports.keys()) {
    if (wanted.has(address)) continue
    throw new Diagnostic(
      'Configuration for import target does not exist',
      `The configuration for the given import ${address} does not exist. All target instances must have an associated configuration to be imported.`,
    )
  }
  const removed = prior.resources.filter((resource) => !wanted.has(addressOf(resource)))
  const reasonOf = ({ type, name }: Resource) => {
    if (options.destroy) return undefined
    const configured = stack.resources.get(`${type}.${name}`)
    if (!configured) return 'delete_because_no_resource_config'
    return configured.forEach ? 'delete_because_each_key' : 'delete_because_wrong_repetition'
  }
  return [...changes, ...removed.map((one) => changeOf(one, ['delete'], one.attributes, null, {}, reasonOf(one)))]
}

/** The attributes of a planned resource for references; attributes of the apply are unknown. */
function knownAfter({ change: { after, after_unknown } }: Change): Mapping {
  const unknown = Object.keys(after_unknown).map((name) => [name, UNKNOWN])
  return { ...(after as Mapping), ...Object.fromEntries(unknown) }
}

function compare(
  configured: Configured,
  identity: Omit<Resource, 'attributes'>,
  body: Mapping,
  prior: Resource | undefined,
  forced: boolean,
): Change {
  const type = typeOf(identity.type)
  const fresh = () => {
    const unknown = Object.entries(body).filter(([, value]) => value === UNKNOWN)
    const names = [...type.computed, ...type.kept.filter((name) => (body[name] ?? null) === null)]
    const known = Object.entries(body).filter(([name, value]) => value !== UNKNOWN && !names.includes(name))
    const after = plain(Object.fromEntries(known)) as Attributes
    return {
      after: 'tags' in body ? { ...after, tags_all: after.tags ?? {} } : after,
      unknown: Object.fromEntries([...names, ...unknown.map(([name]) => name)].map((name) => [name, true])),
    }
  }
  if (!prior) {
    const { after, unknown } = fresh()
    return changeOf(identity, ['create'], null, after, unknown)
  }
  const before = prior.attributes
  const replaced = (reason: string, paths?: string[][]) => {
    const { after, unknown } = fresh()
    const change = changeOf(identity, ['delete', 'create'], before, after, unknown, reason)
    return paths ? { ...change, change: { ...change.change, replace_paths: paths } } : change
  }
  if (prior.tainted) return replaced('replace_because_tainted')
  if (forced) return replaced('replace_by_request')
  const ignored = (name: string) => configured.ignores === 'all' || configured.ignores.includes(name)
  const differing = Object.entries(body).filter(([name, value]) => {
    if (ignored(name) || (value === null && type.kept.includes(name))) return false
    return value === UNKNOWN || !matches(before[name] ?? null, value)
  })
  const forcing = differing.filter(([name]) => type.replaces.includes(name))
  if (forcing.length > 0)
    return replaced(
      'replace_because_cannot_update',
      forcing.map(([name]) => [name]),
    )
  const known = differing.filter(([, value]) => value !== UNKNOWN)
  const after = { ...before, ...(plain(Object.fromEntries(known)) as Attributes) }
  if (known.some(([name]) => name === 'tags')) after.tags_all = after.tags ?? {}
  const unknown = Object.fromEntries(differing.filter(([, value]) => value === UNKNOWN).map(([name]) => [name, true]))
  return changeOf(identity, [differing.length > 0 ? 'update' : 'no-op'], before, after, unknown)
}

/** Whether the state has the configured values. Blocks are compared by their configured arguments, in any order. */
function matches(before: unknown, wanted: Value): boolean {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(before)) return wanted.length === 0 && before === null
    if (wanted.length !== before.length) return false
    const left = [...before]
    return wanted.every((item) => {
      const index = left.findIndex((one) => matches(one, item))
      if (index >= 0) left.splice(index, 1)
      return index >= 0
    })
  }
  if (typeof wanted === 'object' && wanted !== null && !(wanted instanceof Set)) {
    const have = (before ?? {}) as Attributes
    // Tags are a map: additional ones are a difference, too.
    const block = Object.values(wanted).some((value) => typeof value !== 'string')
    if (!block && Object.keys(have).length !== Object.keys(wanted).length) return false
    return Object.entries(wanted).every(([name, value]) => matches(have[name] ?? null, value))
  }
  return same((before ?? null) as Value, wanted)
}

function changeOf(
  { type, name, index }: Omit<Resource, 'attributes'>,
  actions: Action[],
  before: Attributes | null,
  after: Attributes | null,
  unknown: Attributes,
  reason?: string,
): Change {
  return {
    address: addressOf({ type, name, index }),
    mode: 'managed',
    type,
    name,
    ...(index === null ? {} : { index }),
    provider_name: PROVIDER,
    change: {
      actions,
      before,
      after,
      after_unknown: unknown,
      before_sensitive: before ? {} : false,
      after_sensitive: after ? {} : false,
    },
    ...(reason === undefined ? {} : { action_reason: reason }),
  }
}

/** Ids to import, by address. @throws Diagnostic if a target is not an address */
function importsOf(stack: Stack, module: Module): Map<string, string> {
  return new Map(
    stack.imports.flatMap(({ forEach, to, id }) =>
      module.expand({ forEach }).map(({ scope }): [string, string] => [target(to, scope), String(evaluate(id, scope))]),
    ),
  )
}

function target(to: Expression, scope: Parameters<typeof evaluate>[1]): string {
  const name = (of: Expression): string | null => {
    if (of.kind !== 'get' || of.of.kind !== 'name' || of.key.kind !== 'literal') return null
    return `${of.of.name}.${String(of.key.value)}`
  }
  const whole = name(to)
  const of = to.kind === 'get' ? name(to.of) : null
  if (whole !== null && of === null) return whole
  if (to.kind === 'get' && of !== null) return `${of}["${String(evaluate(to.key, scope))}"]`
  throw new Diagnostic('Invalid import address', 'The stand-in reads TYPE.NAME[KEY] and TYPE.NAME.')
}

/** The result of a refresh: resources of the state that are gone or have changed. */
export function driftOf(state: State, refreshed: State): Change[] {
  return state.resources.flatMap((resource) => {
    const now = refreshed.get(addressOf(resource))?.attributes ?? null
    if (now === null) return [changeOf(resource, ['delete'], resource.attributes, null, {})]
    return same(now as Mapping, resource.attributes as Mapping)
      ? []
      : [changeOf(resource, ['update'], resource.attributes, now, {})]
  })
}

/** The plan as `tofu show -json FILE` prints it. */
export function planJson(
  stack: Stack,
  variables: Variables,
  prior: State,
  changes: readonly Change[],
  drift: readonly Change[],
): Attributes {
  const after = changes.flatMap(({ type, name, index = null, change: { after } }) =>
    after ? [{ type, name, index, attributes: after }] : [],
  )
  const touched = changes.some(({ change: { actions } }) => !actions.includes('no-op'))
  const before = prior.outputs
  const output = (name: string) => {
    const value = before[name] ?? null
    return {
      planned: touched ? { sensitive: false } : { sensitive: false, type: ctyOf(value), value },
      change: {
        actions: [touched ? (value === null ? 'create' : 'update') : 'no-op'],
        before: value,
        ...(touched ? {} : { after: value }),
        after_unknown: touched,
        before_sensitive: false,
        after_sensitive: false,
      },
    }
  }
  const outputs = [...stack.outputs.keys()].map((name) => [name, output(name)] as const)
  return {
    format_version: '1.2',
    terraform_version: TOFU_VERSION,
    variables: Object.fromEntries([...variables].map(([name, value]) => [name, { value: plain(value) }])),
    planned_values: {
      outputs: Object.fromEntries(outputs.map(([name, { planned }]) => [name, planned])),
      root_module: { resources: resourcesJson(after) },
    },
    ...(drift.length > 0 ? { resource_drift: drift } : {}),
    resource_changes: [...changes].sort((a, b) => (a.address < b.address ? -1 : 1)),
    output_changes: Object.fromEntries(outputs.map(([name, { change }]) => [name, change])),
    prior_state: prior.toJson(),
    configuration: {
      provider_config: { aws: { name: 'aws', full_name: PROVIDER } },
      root_module: {
        resources: [...stack.resources].map(([address, { type, name, forEach }]) => ({
          ...{ address, mode: 'managed', type, name, provider_config_key: 'aws' },
          ...(forEach ? { for_each_expression: {} } : {}),
        })),
        variables: Object.fromEntries(stack.variables.map(({ name }) => [name, {}])),
      },
    },
    timestamp: `${new Date().toISOString().slice(0, 19)}Z`,
    errored: false,
  }
}
