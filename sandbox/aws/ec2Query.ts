import { AwsError } from './error.js'
import type { Tags } from './world.js'

/** The form body of an EC2 Query request. Records which parameters were read, so that unread ones can be refused. */
export class Query {
  readonly #values: Map<string, string>
  readonly #unread: Set<string>

  constructor(body: string) {
    this.#values = new Map(new URLSearchParams(body))
    this.#unread = new Set(this.#values.keys())
  }

  get(name: string): string | undefined {
    this.#unread.delete(name)
    return this.#values.get(name)
  }

  /** @throws AwsError MissingParameter */
  require(name: string): string {
    const value = this.get(name)
    if (!value) throw new AwsError('MissingParameter', 400, `The request must contain the parameter ${name}`)
    return value
  }

  integer(name: string): number | undefined {
    const value = this.get(name)
    if (value === undefined) return undefined
    if (!/^\d{1,9}$/.test(value)) throw invalidValue(name, value, 'It is not a whole number.')
    return Number(value)
  }

  boolean(name: string): boolean {
    const value = this.get(name)
    if (value !== undefined && value !== 'true' && value !== 'false') throw invalidValue(name, value, 'true or false')
    return value === 'true'
  }

  /** `NAME.1`, `NAME.2`, … in the order of their numbers. */
  list(name: string): string[] {
    return this.indexes(name).flatMap((n) => this.get(`${name}.${n}`) ?? [])
  }

  /** The numbers N for which `NAME.N` or `NAME.N.…` exists. */
  indexes(name: string): number[] {
    const found = new Set<number>()
    for (const key of this.#values.keys()) {
      const index = key.startsWith(`${name}.`) ? key.slice(name.length + 1).split('.')[0] : undefined
      if (index && /^\d{1,6}$/.test(index)) found.add(Number(index))
    }
    return [...found].sort((a, b) => a - b)
  }

  tags(prefix: string): [string, string][] {
    return this.indexes(prefix).map((n) => [this.require(`${prefix}.${n}.Key`), this.get(`${prefix}.${n}.Value`) ?? ''])
  }

  /** Refuses parameters that the sandbox would ignore. @throws AwsError UnknownParameter */
  refuseUnread(): void {
    const [name] = this.#unread
    if (name) {
      throw new AwsError('UnknownParameter', 400, `The sandbox does not emulate the parameter ${name} of this action`)
    }
  }
}

export function invalidValue(name: string, value: string, why: string): AwsError {
  return new AwsError('InvalidParameterValue', 400, `Value ( ${value} ) for parameter ${name} is invalid. ${why}`)
}

type FilterValues<T> = Record<string, (item: T) => string[]>

/**
 * Reads `Filter.N` (for some actions `Filters.N`): all names must match, and one value of each. `fields` are the names that
 * the action supports.
 */
export function readFilters<T extends { tags: Tags }>(
  query: Query,
  fields: FilterValues<T>,
  parameter = 'Filter',
): (item: T) => boolean {
  const tests = query.indexes(parameter).map((n) => {
    const name = query.require(`${parameter}.${n}.Name`)
    const patterns = query.list(`${parameter}.${n}.Value`).map(wildcard)
    const values = filterValues(name, fields)
    return (item: T) => values(item).some((value) => patterns.some((pattern) => pattern.test(value)))
  })
  return (item) => tests.every((test) => test(item))
}

function filterValues<T extends { tags: Tags }>(name: string, fields: FilterValues<T>): (item: T) => string[] {
  if (name.startsWith('tag:')) {
    const key = name.slice('tag:'.length)
    return (item) => (item.tags.has(key) ? [item.tags.get(key) ?? ''] : [])
  }
  if (name === 'tag-key') return (item) => [...item.tags.keys()]
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined
  if (!field) throw new AwsError('InvalidParameterValue', 400, `The filter '${name}' is invalid or not emulated`)
  return field
}

/** `*` is any text, `?` one character, a backslash takes the next one literally. Case counts. */
function wildcard(pattern: string): RegExp {
  const source = pattern.replace(/\\([\s\S])|([\s\S])/gu, (_, escaped?: string, plain?: string) => {
    if (plain === '*') return '[\\s\\S]*'
    if (plain === '?') return '[\\s\\S]'
    return (escaped ?? plain ?? '').replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  })
  return new RegExp(`^${source}$`, 'u')
}

export interface Page<T> {
  items: T[]
  nextToken: string | undefined
}

/**
 * Cuts a page by MaxResults (5 to 1000, as in EC2) and NextToken. `all` only grows at its end. The token names the last
 * returned item and its position, so that pages neither repeat nor skip items if the world changes meanwhile, unless that
 * item is gone.
 */
export function page<T extends { id: string }>(
  query: Query,
  all: readonly T[],
  matches: (item: T) => boolean,
): Page<T> {
  const size = query.integer('MaxResults')
  if (size !== undefined && size < 5) {
    throw invalidValue('maxResults', String(size), 'Expecting a value greater than 5.')
  }
  const token = query.get('NextToken')
  let rest = all
  if (token) {
    const [, place, last] = /^(\d+) (.+)$/.exec(Buffer.from(token, 'base64url').toString()) ?? []
    if (place === undefined) throw new AwsError('InvalidParameterValue', 400, 'Unable to parse pagination token')
    const index = all.findIndex((item) => item.id === last)
    rest = all.slice(index < 0 ? Number(place) : index + 1)
  }
  const found = rest.filter(matches)
  const items = found.slice(0, Math.min(size ?? found.length, 1000))
  const last = items.at(-1)
  const more = found.length > items.length && last
  return { items, nextToken: more ? Buffer.from(`${all.indexOf(last)} ${last.id}`).toString('base64url') : undefined }
}
