import type * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'
import type { Bearer } from './authenticate.js'
import type { ApiRequest } from './event.js'
import { ROUTES, type Route, type RoutePorts, type Subject } from './routes.js'

/** The facts about an authenticated request that a route gets. */
export interface Authenticated {
  bearer: Bearer
  /** Adds fields to the request's log line. */
  logSubject(subject: Subject): void
  /** Whether the data contains a token. */
  isSecret(data: unknown): boolean
}

export interface FoundRoute {
  route: Route
  /** Path parameters, not yet parsed. */
  parameters: Record<string, string>
}

/** Its `allow` becomes the answer's `Allow` header. */
export class MethodNotAllowed extends ClawctlError {
  readonly allow: string
  constructor(allow: string) {
    super('METHOD_NOT_ALLOWED', `This route takes ${allow}.`)
    this.allow = allow
  }
}

/** @throws ClawctlError NOT_FOUND, METHOD_NOT_ALLOWED */
export function findRoute(request: Pick<ApiRequest, 'method' | 'path'>): FoundRoute {
  const onPath = ROUTES.flatMap((route) => {
    const parameters = match(route.path, request.path)
    return parameters ? [{ route, parameters }] : []
  })
  const found = onPath.find(({ route }) => route.method === request.method)
  if (found) return found
  if (onPath.length > 0) throw new MethodNotAllowed(onPath.map(({ route }) => route.method).join(', '))
  throw new ClawctlError('NOT_FOUND', 'There is no such route.', {
    hint: `The routes are ${ROUTES.map((route) => `${route.method} ${route.path}`).join(', ')}.`,
  })
}

function match(pattern: string, path: string): Record<string, string> | null {
  const parts = pattern.split('/')
  const given = path.split('/')
  if (parts.length !== given.length) return null
  const parameters: Record<string, string> = {}
  for (const [index, part] of parts.entries()) {
    const text = given[index] ?? ''
    const name = /^\{(.+)\}$/.exec(part)?.[1]
    if (name === undefined ? text !== part : text === '') return null
    if (name !== undefined) parameters[name] = decoded(text)
  }
  return parameters
}

/** A malformed encoding stays as it is; no id matches it. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** Parses the request with the route's schemas and runs it. @throws ClawctlError NOT_FOUND, INVALID_REQUEST, PAYLOAD_TOO_LARGE, READ_ONLY, or the route's own */
export async function runRoute(
  found: FoundRoute,
  request: ApiRequest,
  asked: Authenticated,
  ports: RoutePorts,
): Promise<object> {
  const { route } = found
  if (asked.isSecret([found.parameters, Object.fromEntries(request.query)])) throw holdsToken()
  const path = route.parameters?.safeParse(found.parameters)
  if (path && !path.success) {
    const [name] = Object.keys(found.parameters)
    throw new ClawctlError(
      'NOT_FOUND',
      `The ${name === 'id' ? 'id' : 'request id'} has a form that no ${name === 'id' ? 'instance' : 'deploy'} has.`,
      {
        hint: `See \`clawctl fleet ${name === 'id' ? 'status' : 'history'}\` for the ids.`,
      },
    )
  }
  if (asked.bearer.scope === 'read' && route.method !== 'GET') {
    throw new ClawctlError('READ_ONLY', 'The token may only read.', {
      hint: 'Use the token of an instance or of a maintainer.',
    })
  }
  const query = parseQuery(route, request.query)
  const body = route.body ? parseBody(route.body, request, asked) : {}
  const input = { path: path?.data ?? {}, query, body, bearer: asked.bearer, logSubject: asked.logSubject }
  return { ok: true, ...(await route.run(input, ports)) }
}

function parseBody(schema: z.ZodMiniObject, request: ApiRequest, { isSecret }: Authenticated): Record<string, unknown> {
  const data = request.json()
  // A target or a name becomes part of the run's name, which is public.
  if (isSecret(data)) throw holdsToken()
  return parsed(schema, data, 'field')
}

function holdsToken(): ClawctlError {
  return new ClawctlError(
    'INVALID_REQUEST',
    'A field contains a token. Send a token only in the Authorization header.',
    {
      hint: 'If the token went through a chat or a log, replace it.',
    },
  )
}

/** Decimal whole numbers; `1e1`, `0x1` and ` 1` stay text. */
const WHOLE_NUMBER = /^(?:0|-?[1-9][0-9]{0,14})$/

function parseQuery(route: Route, query: URLSearchParams): Record<string, unknown> {
  const given = new Map<string, unknown>()
  for (const [name, text] of query) {
    if (given.has(name)) throw invalid([`the parameter ${quote(name)} is given twice`], route.query, 'parameter')
    given.set(name, WHOLE_NUMBER.test(text) ? Number(text) : text)
  }
  if (!route.query) {
    if (given.size === 0) return {}
    throw invalid(
      [`unknown parameter ${[...given.keys()].slice(0, MAX_NAMES).map(quote).join(', ')}`],
      undefined,
      'parameter',
    )
  }
  return parsed(route.query, Object.fromEntries(given), 'parameter')
}

type What = 'field' | 'parameter'

function parsed(schema: z.ZodMiniObject, data: unknown, what: What): Record<string, unknown> {
  const result = schema.safeParse(data)
  if (result.success) return result.data
  throw invalid(
    result.error.issues.map((issue) => problemOf(issue, what)),
    schema,
    what,
  )
}

/** Limits of an answer's size, however bad the request is. */
const MAX_PROBLEMS = 8
const MAX_NAMES = 5
const MAX_NAME_LENGTH = 40

function invalid(problems: readonly string[], schema: z.ZodMiniObject | undefined, what: What): ClawctlError {
  const more = problems.length - MAX_PROBLEMS
  const listed = [...problems.slice(0, MAX_PROBLEMS), ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
  const names = Object.keys(schema?.def.shape ?? {})
  return new ClawctlError('INVALID_REQUEST', `The request is not valid: ${listed}.`, {
    hint: names.length > 0 ? `The ${what}s are ${names.join(', ')}.` : `This route takes no ${what}s.`,
  })
}

function problemOf(issue: z.core.$ZodIssue, what: What): string {
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, MAX_NAMES).map(quote)
    const more = issue.keys.length - names.length
    return `unknown ${what} ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  }
  if (issue.path.length === 0) return 'the body must be one JSON object'
  return `${issue.path.join('.')} ${issue.message}`
}

function quote(name: string): string {
  return JSON.stringify(name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH - 3)}...` : name)
}
