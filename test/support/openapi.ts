import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

/** An OpenAPI 3.1 document, as far as it is read here. */
export interface OpenApi {
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, unknown>>
}

interface Operation {
  operationId: string
  parameters?: (Parameter | { $ref: string })[]
  requestBody?: { required?: boolean; content: Record<string, { schema: object }> }
  responses: Record<string, { content?: Record<string, { schema?: object }> } | { $ref: string }>
}

interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  schema: object
}

export interface Call {
  method: string
  url: URL
  body: string
}

const pointerPart = (part: string) => part.replaceAll('~', '~0').replaceAll('/', '~1')

/** Holds requests and answers against a description. Every method returns what is wrong, in words; nothing where all is well. */
export class Description {
  readonly #document: OpenApi
  readonly #ajv = new Ajv2020({ strict: false, validateSchema: false, allErrors: true, coerceTypes: false })
  readonly #coercing = new Ajv2020({ strict: false, validateSchema: false, coerceTypes: true })
  readonly #compiled = new Map<string, ValidateFunction>()
  readonly #routes: { method: string; path: string; pattern: RegExp; names: string[] }[]

  constructor(document: OpenApi) {
    this.#document = document
    for (const ajv of [this.#ajv, this.#coercing]) {
      formats.default(ajv)
      ajv.addFormat('repo.nwo', true)
      ajv.addSchema(document, 'api')
    }
    this.#routes = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => {
        // GitHub's {path} and {ref} take slashes; so they come last.
        const pattern = path.replace(/\{(\w+)\}/g, (_, name) => (/^(?:path|ref)$/.test(name) ? '(.+)' : '([^/]+)'))
        const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
        return { method: method.toUpperCase(), path, pattern: new RegExp(`^${pattern}$`), names }
      }),
    )
  }

  /** The operation that a request is for, as `GET /a/{b}`; null where the document has none. */
  operationOf(method: string, pathname: string): string | null {
    const found = this.#routes.find((route) => route.method === method && route.pattern.test(pathname))
    return found ? `${found.method} ${found.path}` : null
  }

  request({ method, url, body }: Call): string[] {
    const route = this.#routes.find((one) => one.method === method && one.pattern.test(url.pathname))
    if (!route) return [`${method} ${url.pathname} is not described`]
    const at = ['paths', route.path, method.toLowerCase()]
    const operation = this.#document.paths[route.path]?.[method.toLowerCase()] as Operation
    const caught = route.pattern.exec(url.pathname)?.slice(1) ?? []
    const inPath = new Map(route.names.map((name, index) => [name, decodeURIComponent(caught[index] ?? '')]))
    const problems: string[] = []
    const known = new Set<string>()
    for (const [index, given] of (operation.parameters ?? []).entries()) {
      const [parameter, where] = this.#resolve<Parameter>(given, [...at, 'parameters', String(index)])
      if (parameter.in === 'header') continue
      if (parameter.in === 'query') known.add(parameter.name)
      const value = parameter.in === 'path' ? inPath.get(parameter.name) : url.searchParams.get(parameter.name)
      if (value === null || value === undefined) {
        if (parameter.required) problems.push(`${parameter.in} parameter ${parameter.name} is missing`)
      } else problems.push(...this.#check([...where, 'schema'], { value }, `parameter ${parameter.name}`))
    }
    for (const name of url.searchParams.keys()) {
      if (!known.has(name)) problems.push(`query parameter ${name} is not described`)
    }
    if (operation.requestBody && (body !== '' || operation.requestBody.required)) {
      const parsed = parse(body)
      if (parsed === undefined) problems.push('the body is not JSON')
      else
        problems.push(...this.#check([...at, 'requestBody', 'content', 'application/json', 'schema'], parsed, 'body'))
    } else if (body !== '') problems.push('a body is not described')
    return problems.map((problem) => `${method} ${route.path}: ${problem}`)
  }

  /** @param fallback schema of a failure that the operation does not list, as a JSON pointer's parts */
  answer(
    call: Omit<Call, 'body'>,
    answer: { status: number; type: string; body: string },
    fallback?: string[],
  ): string[] {
    const { method, url } = call
    const route = this.#routes.find((one) => one.method === method && one.pattern.test(url.pathname))
    if (!route) return [`${method} ${url.pathname} is not described`]
    const title = `${method} ${route.path} answers ${answer.status}`
    const at = ['paths', route.path, method.toLowerCase(), 'responses', String(answer.status)]
    const listed = this.#document.paths[route.path]?.[method.toLowerCase()]?.responses[answer.status]
    if (!listed && !(answer.status >= 400 && fallback)) return [`${title}, which is not described`]
    const [response, where] = listed ? this.#resolve<{ content?: object }>(listed, at) : [{ content: {} }, []]
    const type = answer.type.split(';')[0] ?? ''
    if (!response.content) return answer.body === '' ? [] : [`${title} with a body, and none is described`]
    // Another media type than JSON is chosen by the request's `accept`: there is no schema for it.
    if (type !== 'application/json') return answer.body !== '' && type !== '' ? [] : [`${title} without a media type`]
    const parsed = parse(answer.body)
    if (parsed === undefined) return [`${title} with something that is not JSON`]
    const schema = listed ? [...where, 'content', 'application/json', 'schema'] : (fallback ?? [])
    return this.#check(schema, parsed, title)
  }

  /** A value against a named schema. */
  value(name: string, value: unknown): string[] {
    return this.#check(['components', 'schemas', name], value, name)
  }

  #resolve<T>(given: unknown, at: string[]): [T, string[]] {
    const ref = (given as { $ref?: string }).$ref
    if (ref === undefined) return [given as T, at]
    const [, group = '', name = ''] = /^#\/components\/(\w+)\/(.+)$/.exec(ref) ?? []
    return [this.#document.components[group]?.[name] as T, ['components', group, name]]
  }

  #check(pointer: readonly string[], data: unknown, what: string): string[] {
    // A parameter comes as text: `{value}` lets ajv make a number of it where the schema wants one.
    const asText = what.startsWith('parameter ')
    const id = `${asText}${pointer.join('\n')}`
    let validate = this.#compiled.get(id)
    if (!validate) {
      const schema = { $ref: `api#/${pointer.map(pointerPart).map(encodeURIComponent).join('/')}` }
      validate = asText ? this.#coercing.compile({ properties: { value: schema } }) : this.#ajv.compile(schema)
      this.#compiled.set(id, validate)
    }
    if (validate(data)) return []
    return (validate.errors ?? []).map(({ instancePath, message, params }) => {
      return `${what}: ${instancePath || 'it'} ${message} ${JSON.stringify(params)}`
    })
  }
}

/** Objects may hold nothing that the document does not name: for answers of our own, in tests. */
export function closed<T>(schema: T): T {
  if (Array.isArray(schema)) return schema.map(closed) as T
  if (typeof schema !== 'object' || schema === null) return schema
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]))
  const open = inner.type === 'object' && inner.properties && inner.additionalProperties === undefined
  return (open ? { ...inner, additionalProperties: false } : inner) as T
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
