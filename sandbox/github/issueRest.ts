import * as z from 'zod/mini'
import type { Reply } from '../http.js'
import type { GitHub } from './github.js'
import { bodyOf, type Call, json, notFound, paginate, type Route } from './reply.js'
import { nodeId, type Schemas, userShape } from './repositoryShape.js'
import { stamp } from './state.js'

export interface IssueState {
  number: number
  title: string
  body: string
  labels: string[]
  state: 'open' | 'closed'
  createdAt: string
  updatedAt: string
  comments: { id: number; body: string; createdAt: string }[]
}

/** GitHub's issues: opened, listed, changed, commented on. */
export const ISSUE_ROUTES: Route[] = [
  { method: 'GET', pattern: /^issues$/, needs: ['issues', 'read'], handle: list },
  { method: 'POST', pattern: /^issues$/, needs: ['issues', 'write'], handle: create },
  {
    method: 'GET',
    pattern: /^issues\/(\d+)$/,
    needs: ['issues', 'read'],
    handle: withIssue(({ github }, issue) => json(200, issueShape(github, issue))),
  },
  { method: 'PATCH', pattern: /^issues\/(\d+)$/, needs: ['issues', 'write'], handle: withIssue(update) },
  { method: 'POST', pattern: /^issues\/(\d+)\/comments$/, needs: ['issues', 'write'], handle: withIssue(comment) },
]

const newIssueSchema = z.object({
  title: z.string().check(z.minLength(1)),
  body: z.optional(z.string()),
  labels: z.optional(z.array(z.string())),
})
const issueChangeSchema = z.object({
  title: z.optional(z.string()),
  body: z.optional(z.string()),
  state: z.optional(z.enum(['open', 'closed'])),
  labels: z.optional(z.array(z.string())),
})
const commentSchema = z.object({ body: z.string().check(z.minLength(1)) })

function withIssue(handle: (call: Call, issue: IssueState) => Reply): Route['handle'] {
  return (call) => {
    const issue = call.github.issues.find(({ number }) => number === Number(call.args[0]))
    return issue ? handle(call, issue) : notFound()
  }
}

function list({ github, exchange }: Call): Reply {
  const query = exchange.url.searchParams
  const state = query.get('state') ?? 'open'
  const labels = (query.get('labels') ?? '').split(',').filter(Boolean)
  const found = github.issues
    .filter((issue) => state === 'all' || issue.state === state)
    .filter((issue) => labels.every((label) => issue.labels.includes(label)))
    .reverse()
  const { items, headers } = paginate(exchange, found)
  return json(
    200,
    items.map((issue) => issueShape(github, issue)),
    headers,
  )
}

function create(call: Call): Reply {
  const given = bodyOf(call, newIssueSchema)
  if (!given.ok) return given.reply
  const { github } = call
  const { title, body = '', labels = [] } = given.data
  const at = stamp()
  const number = github.issues.length + 1
  const issue: IssueState = { number, title, body, labels, state: 'open', createdAt: at, updatedAt: at, comments: [] }
  github.issues.push(issue)
  return json(201, issueShape(github, issue))
}

function update(call: Call, issue: IssueState): Reply {
  const given = bodyOf(call, issueChangeSchema)
  if (!given.ok) return given.reply
  Object.assign(issue, given.data, { updatedAt: stamp() })
  return json(200, issueShape(call.github, issue))
}

function comment(call: Call, issue: IssueState): Reply {
  const given = bodyOf(call, commentSchema)
  if (!given.ok) return given.reply
  const added = { id: issue.number * 1000 + issue.comments.length + 1, body: given.data.body, createdAt: stamp() }
  issue.comments.push(added)
  const { id, body, createdAt: created_at } = added
  const { github } = call
  const shape: Schemas['issue-comment'] = {
    id,
    node_id: nodeId('IssueComment', id),
    url: `${github.apiUrl}/repos/${github.repository}/issues/comments/${id}`,
    html_url: `${htmlUrl(github, issue)}#issuecomment-${id}`,
    issue_url: apiUrl(github, issue),
    user: userShape(github, github.actor),
    body,
    author_association: 'OWNER',
    created_at,
    updated_at: created_at,
  }
  return json(201, shape)
}

function issueShape(github: GitHub, issue: IssueState): Schemas['issue'] {
  const { number, title, body, state, labels, comments, createdAt, updatedAt } = issue
  const url = apiUrl(github, issue)
  return {
    id: number,
    node_id: nodeId('Issue', number),
    url,
    repository_url: `${github.apiUrl}/repos/${github.repository}`,
    labels_url: `${url}/labels{/name}`,
    comments_url: `${url}/comments`,
    events_url: `${url}/events`,
    html_url: htmlUrl(github, issue),
    number,
    title,
    body,
    state,
    locked: false,
    user: userShape(github, github.actor),
    labels: labels.map((name) => ({ name })),
    assignee: null,
    milestone: null,
    comments: comments.length,
    created_at: createdAt,
    updated_at: updatedAt,
    closed_at: state === 'closed' ? updatedAt : null,
  }
}

const apiUrl = (github: GitHub, { number }: IssueState) =>
  `${github.apiUrl}/repos/${github.repository}/issues/${number}`
const htmlUrl = (github: GitHub, { number }: IssueState) => `${github.apiUrl}/${github.repository}/issues/${number}`
