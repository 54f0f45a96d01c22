import { randomUUID } from 'node:crypto'
import * as z from 'zod/mini'
import { Diagnostic } from './diagnostic.js'
import { typeOf } from './schema.js'

export const TOFU_VERSION = '1.12.0'
export const PROVIDER = 'registry.opentofu.org/hashicorp/aws'

export type Attributes = Record<string, unknown>

const attributesSchema = z.record(z.string(), z.unknown())

/** The parts of the state file, format 4, for managed resources with string keys. */
const stateSchema = z.object({
  version: z.literal(4),
  terraform_version: z.string(),
  serial: z.number(),
  lineage: z.string(),
  outputs: z.record(z.string(), z.object({ value: z.unknown(), type: z.unknown() })),
  resources: z.array(
    z.object({
      mode: z.string(),
      type: z.string(),
      name: z.string(),
      provider: z.string(),
      instances: z.array(
        z.object({
          index_key: z.optional(z.string()),
          status: z.optional(z.literal('tainted')),
          schema_version: z.number(),
          attributes: attributesSchema,
          dependencies: z.optional(z.array(z.string())),
        }),
      ),
    }),
  ),
})
type StateFile = z.infer<typeof stateSchema>

export interface Resource {
  type: string
  name: string
  /** Null without for_each. */
  index: string | null
  attributes: Attributes
  /** Its creation did not finish, so the next plan replaces it. */
  tainted?: boolean
  /** `type.name` of its dependencies, which are destroyed after it. */
  dependencies?: readonly string[]
}

export const addressOf = ({ type, name, index }: Pick<Resource, 'type' | 'name' | 'index'>) =>
  `${type}.${name}${index === null ? '' : `["${index}"]`}`

/** The state in memory. `lineage` is empty before the first write. */
export class State {
  lineage: string
  serial: number
  outputs: Attributes
  readonly #resources: Map<string, Resource>

  constructor(lineage = '', serial = 0, resources: readonly Resource[] = [], outputs: Attributes = {}) {
    this.lineage = lineage
    this.serial = serial
    this.outputs = outputs
    this.#resources = new Map(resources.map((resource) => [addressOf(resource), resource]))
  }

  /** @throws Diagnostic for a file of another format */
  static parse(text: string): State {
    let file: StateFile
    try {
      file = stateSchema.parse(JSON.parse(text))
    } catch (error) {
      throw new Diagnostic('Unsupported state file format', `The state can't be read: ${(error as Error).message}`)
    }
    const resources = file.resources.flatMap(({ type, name, instances }) =>
      instances.map((instance) => ({
        type,
        name,
        index: instance.index_key ?? null,
        attributes: instance.attributes,
        ...(instance.status === 'tainted' ? { tainted: true } : {}),
        dependencies: instance.dependencies ?? [],
      })),
    )
    const outputs = Object.fromEntries(Object.entries(file.outputs).map(([name, { value }]) => [name, value]))
    return new State(file.lineage, file.serial, resources, outputs)
  }

  /** Sorted by address. */
  get resources(): Resource[] {
    return [...this.#resources.values()].sort((a, b) => (addressOf(a) < addressOf(b) ? -1 : 1))
  }

  get(address: string): Resource | undefined {
    return this.#resources.get(address)
  }

  put(resource: Resource): void {
    this.#resources.set(addressOf(resource), resource)
  }

  remove(address: string): void {
    this.#resources.delete(address)
  }

  /** The same file with other resources. */
  with(resources: readonly Resource[]): State {
    return new State(this.lineage, this.serial, resources, this.outputs)
  }

  /** The next version of the state file. */
  serialize(): string {
    this.lineage ||= randomUUID()
    this.serial += 1
    return this.text()
  }

  /** This version of it, as `state pull` prints it. */
  text(): string {
    const names = [...new Set(this.resources.map(({ type, name }) => `${type}.${name}`))]
    const file: StateFile = {
      version: 4,
      terraform_version: TOFU_VERSION,
      serial: this.serial,
      lineage: this.lineage,
      outputs: Object.fromEntries(
        Object.entries(this.outputs).map(([name, value]) => [name, { value, type: ctyOf(value) }]),
      ),
      resources: names.map((resource) => {
        const [type = '', name = ''] = resource.split('.')
        return {
          mode: 'managed',
          type,
          name,
          provider: `provider["${PROVIDER}"]`,
          instances: this.resources
            .filter((one) => one.type === type && one.name === name)
            .map(({ index, attributes, tainted, dependencies = [] }) => ({
              ...(index === null ? {} : { index_key: index }),
              ...(tainted ? { status: 'tainted' as const } : {}),
              schema_version: typeOf(type).version,
              attributes,
              ...(dependencies.length > 0 ? { dependencies: [...dependencies] } : {}),
            })),
        }
      }),
    }
    return `${JSON.stringify(file, null, 2)}\n`
  }

  /** `tofu show -json` of the state; only the format for an empty one. */
  toJson(): Attributes {
    const outputs = Object.fromEntries(
      Object.entries(this.outputs).map(([name, value]) => [name, { sensitive: false, value, type: ctyOf(value) }]),
    )
    if (this.lineage === '') return { format_version: '1.0' }
    return {
      format_version: '1.0',
      terraform_version: TOFU_VERSION,
      values: { outputs, root_module: this.#resources.size > 0 ? { resources: resourcesJson(this.resources) } : {} },
    }
  }
}

/** Resources as `values.root_module.resources` and `planned_values` list them. */
export function resourcesJson(resources: readonly Resource[]): Attributes[] {
  return resources.map((resource) => ({
    address: addressOf(resource),
    mode: 'managed',
    type: resource.type,
    name: resource.name,
    ...(resource.index === null ? {} : { index: resource.index }),
    provider_name: PROVIDER,
    schema_version: typeOf(resource.type).version,
    values: resource.attributes,
    sensitive_values: {},
    ...(resource.tainted ? { tainted: true } : {}),
  }))
}

/** A value's type as cty writes it in JSON. */
export function ctyOf(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return typeof value === 'object' ? 'dynamic' : typeof value
  return ['object', Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, ctyOf(inner)]))]
}
