import { randomUUID } from 'node:crypto'
import * as z from 'zod/mini'
import { Diagnostic } from './diagnostic.js'

export const TOFU_VERSION = '1.12.0'
export const PROVIDER = 'registry.opentofu.org/hashicorp/aws'

export type Attributes = Record<string, unknown>

const attributesSchema = z.record(z.string(), z.unknown())

/** The state file, format 4, as far as one stack of managed resources with string keys uses it. */
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
      instances: z.array(z.object({ index_key: z.string(), schema_version: z.number(), attributes: attributesSchema })),
    }),
  ),
})
type StateFile = z.infer<typeof stateSchema>

export interface Resource {
  type: string
  index: string
  attributes: Attributes
}

export const addressOf = ({ type, index }: Pick<Resource, 'type' | 'index'>) => `${type}.clawdinator["${index}"]`

/** The state in memory. `lineage` is empty until something was written. */
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
    const resources = file.resources.flatMap(({ type, instances }) =>
      instances.map((instance) => ({ type, index: instance.index_key, attributes: instance.attributes })),
    )
    const outputs = Object.fromEntries(Object.entries(file.outputs).map(([name, { value }]) => [name, value]))
    return new State(file.lineage, file.serial, resources, outputs)
  }

  /** Sorted by address. */
  get resources(): Resource[] {
    return [...this.#resources.values()].sort((a, b) => (addressOf(a) < addressOf(b) ? -1 : 1))
  }

  get(type: string, index: string): Resource | undefined {
    return this.#resources.get(addressOf({ type, index }))
  }

  put(resource: Resource): void {
    this.#resources.set(addressOf(resource), resource)
  }

  remove(type: string, index: string): void {
    this.#resources.delete(addressOf({ type, index }))
  }

  /** Without these resources: what a refresh leaves of the state. */
  without(gone: ReadonlySet<string>): State {
    const left = this.resources.filter((resource) => !gone.has(addressOf(resource)))
    return new State(this.lineage, this.serial, left, this.outputs)
  }

  /** The next version of the state file. */
  serialize(): string {
    this.lineage ||= randomUUID()
    this.serial += 1
    const types = [...new Set(this.resources.map(({ type }) => type))]
    const file: StateFile = {
      version: 4,
      terraform_version: TOFU_VERSION,
      serial: this.serial,
      lineage: this.lineage,
      outputs: Object.fromEntries(
        Object.entries(this.outputs).map(([name, value]) => [name, { value, type: typeOf(value) }]),
      ),
      resources: types.map((type) => ({
        mode: 'managed',
        type,
        name: 'clawdinator',
        provider: `provider["${PROVIDER}"]`,
        instances: this.resources
          .filter((resource) => resource.type === type)
          .map(({ index, attributes }) => ({ index_key: index, schema_version: 1, attributes })),
      })),
    }
    return `${JSON.stringify(file, null, 2)}\n`
  }

  /** `tofu show -json` of the state; of an empty one nothing but the format. */
  toJson(): Attributes {
    const outputs = Object.fromEntries(
      Object.entries(this.outputs).map(([name, value]) => [name, { sensitive: false, value, type: typeOf(value) }]),
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
    name: 'clawdinator',
    index: resource.index,
    provider_name: PROVIDER,
    schema_version: 1,
    values: resource.attributes,
    sensitive_values: {},
  }))
}

/** A value's type as cty writes it in JSON. */
export function typeOf(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return typeof value === 'object' ? 'dynamic' : typeof value
  return ['object', Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, typeOf(inner)]))]
}
