import * as z from 'zod/mini'
import type { Reply } from '../http.js'
import type { PullState } from './gitObjects.js'
import { pullShape, pullSimpleShape } from './gitShapes.js'
import { bodyOf, type Call, json, notFound, paginate, type Route } from './reply.js'
import { stamp } from './state.js'

/** GitHub's pull requests: opened, listed, read, updated, closed. */
export const PULL_ROUTES: Route[] = [
  { method: 'GET', pattern: /^pulls$/, needs: ['pull_requests', 'read'], handle: list },
  { method: 'POST', pattern: /^pulls$/, needs: ['pull_requests', 'write'], handle: create },
  {
    method: 'GET',
    pattern: /^pulls\/(\d+)$/,
    needs: ['pull_requests', 'read'],
    handle: withPull(({ github }, pull) => json(200, pullShape(github, pull))),
  },
  { method: 'PATCH', pattern: /^pulls\/(\d+)$/, needs: ['pull_requests', 'write'], handle: withPull(update) },
]

const newPullSchema = z.object({
  title: z.string().check(z.minLength(1)),
  head: z.string(),
  base: z.string(),
  body: z.optional(z.nullable(z.string())),
})
const pullChangeSchema = z.object({
  title: z.optional(z.string()),
  body: z.optional(z.string()),
  state: z.optional(z.enum(['open', 'closed'])),
})

function invalid(errors: object[]): Reply {
  return json(422, {
    message: 'Validation Failed',
    errors,
    documentation_url: 'https://docs.github.com/rest',
    status: '422',
  })
}

/** The branch of `owner:branch` or `branch`; null for another owner. */
function branchOf(owner: string, head: string): string | null {
  const [before, after] = head.split(':')
  if (after === undefined) return before ?? null
  return before?.toLowerCase() === owner.toLowerCase() ? after : null
}

function list({ github, exchange }: Call): Reply {
  const query = exchange.url.searchParams
  const state = query.get('state') ?? 'open'
  const [owner = ''] = github.repository.split('/')
  const head = query.get('head')
  const base = query.get('base')
  // GitHub ignores a head without an owner.
  const wanted = head?.includes(':') ? { branch: branchOf(owner, head) } : null
  const found = github.git.pulls.filter(
    (pull) =>
      (state === 'all' || pull.state === state) &&
      (wanted === null || pull.head === wanted.branch) &&
      (base === null || pull.base === base),
  )
  const { items, headers } = paginate(exchange, found.reverse())
  return json(
    200,
    items.map((pull) => pullSimpleShape(github, pull)),
    headers,
  )
}

function create(call: Call): Reply {
  const { github } = call
  const body = bodyOf(call, newPullSchema)
  if (!body.ok) return body.reply
  const { title, base } = body.data
  const [owner = ''] = github.repository.split('/')
  const head = branchOf(owner, body.data.head)
  const bad = (field: string) => invalid([{ resource: 'PullRequest', field, code: 'invalid' }])
  if (head === null || !github.git.branch(head)) return bad('head')
  if (!github.git.branch(base)) return bad('base')
  const refuse = (message: string) => invalid([{ resource: 'PullRequest', code: 'custom', message }])
  if (github.git.branch(head) === github.git.branch(base)) return refuse(`No commits between ${base} and ${head}`)
  if (github.git.openPull(head, base)) return refuse(`A pull request already exists for ${owner}:${head}.`)
  return json(201, pullShape(github, github.git.addPull({ title, head, base, body: body.data.body ?? null })))
}

function update(call: Call, pull: PullState): Reply {
  const body = bodyOf(call, pullChangeSchema)
  if (!body.ok) return body.reply
  const { title = pull.title, body: text = pull.body, state = pull.state } = body.data
  const closedAt = state === 'closed' ? (pull.closedAt ?? stamp()) : null
  Object.assign(pull, { title, body: text, state, closedAt, updatedAt: stamp() })
  return json(200, pullShape(call.github, pull))
}

function withPull(handle: (call: Call, pull: PullState) => Reply): Route['handle'] {
  return (call) => {
    const pull = call.github.git.pulls.find(({ number }) => number === Number(call.args[0]))
    return pull ? handle(call, pull) : notFound()
  }
}
