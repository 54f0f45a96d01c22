import type * as z from 'zod/mini'
import { parseJson } from '../../src/lib/domain/json.js'
import type { Exchange, Reply } from '../http.js'
import type { GitHub } from './github.js'

const PAGE_SIZE = 30
const MAX_PAGE_SIZE = 100

export interface Call {
  github: GitHub
  exchange: Exchange
  /** The groups of the route's pattern. */
  args: string[]
}

export interface Route {
  method: string
  pattern: RegExp
  /** The permission that an installation token needs; reading metadata is always allowed. */
  needs?: readonly [permission: string, level: 'read' | 'write']
  handle(call: Call): Promise<Reply> | Reply
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(body),
  }
}

export function problem(status: number, message: string, headers: Record<string, string> = {}): Reply {
  return json(status, { message, documentation_url: 'https://docs.github.com/rest', status: String(status) }, headers)
}

export const notFound = () => problem(404, 'Not Found')

/** The parsed body, or GitHub's refusal. */
export function bodyOf<T>(
  { exchange }: Call,
  schema: z.ZodMiniType<T>,
): { ok: true; data: T } | { ok: false; reply: Reply } {
  const value = parseJson(exchange.body.toString('utf8'))
  if (value === undefined) return { ok: false, reply: problem(400, 'Problems parsing JSON') }
  const parsed = schema.safeParse(value)
  if (parsed.success) return { ok: true, data: parsed.data }
  const where = parsed.error.issues[0]?.path.join('/') ?? ''
  return { ok: false, reply: problem(422, `Invalid request.\n\n"${where}" wasn't supplied or has another form.`) }
}

export function paginate<T>(exchange: Exchange, items: readonly T[]): { items: T[]; headers: Record<string, string> } {
  const query = exchange.url.searchParams
  const size = Math.min(MAX_PAGE_SIZE, Math.max(1, Number(query.get('per_page')) || PAGE_SIZE))
  const page = Math.max(1, Number(query.get('page')) || 1)
  const last = Math.max(1, Math.ceil(items.length / size))
  const link = (rel: string, number: number) => {
    const url = new URL(exchange.url)
    url.host = exchange.headers.host ?? url.host
    url.searchParams.set('page', String(number))
    return `<${url.href}>; rel="${rel}"`
  }
  const links = [
    ...(page > 1 ? [link('prev', page - 1), link('first', 1)] : []),
    ...(page < last ? [link('next', page + 1), link('last', last)] : []),
  ]
  return {
    items: items.slice((page - 1) * size, page * size),
    headers: links.length === 0 ? {} : { link: links.join(', ') },
  }
}
