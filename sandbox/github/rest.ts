import { randomBytes } from 'node:crypto'
import type { Exchange, Reply } from '../http.js'
import { expiryOf, reaches } from './apps.js'
import type { GitHub } from './github.js'
import { GIT_ROUTES } from './gitRest.js'
import { ISSUE_ROUTES } from './issueRest.js'
import { PULL_ROUTES } from './pullRest.js'
import { type Call, json, notFound, paginate, problem, type Route } from './reply.js'
import { repositoryShape } from './repositoryShape.js'
import { annotationShape, contentShape, jobShape, runHtmlUrl, runShape, workflowShape } from './shapes.js'
import type { RunState } from './state.js'
import { entries } from './stepModel.js'
import { loadWorkflow } from './workflow.js'

/** The limit of requests per hour; reported, but not counted. */
const RATE_LIMIT = 5000

function text(body: string): Reply {
  return { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body }
}

const ROUTES: Route[] = [
  { method: 'GET', pattern: /^$/, handle: ({ github }) => json(200, repositoryShape(github)) },
  { method: 'GET', pattern: /^contents\/(.+)$/, needs: ['contents', 'read'], handle: contents },
  {
    method: 'POST',
    pattern: /^actions\/workflows\/([^/]+)\/dispatches$/,
    needs: ['actions', 'write'],
    handle: dispatch,
  },
  { method: 'GET', pattern: /^actions\/workflows\/([^/]+)$/, needs: ['actions', 'read'], handle: workflow },
  { method: 'GET', pattern: /^actions\/workflows\/([^/]+)\/runs$/, needs: ['actions', 'read'], handle: runs },
  { method: 'GET', pattern: /^actions\/runs$/, needs: ['actions', 'read'], handle: runs },
  {
    method: 'GET',
    pattern: /^actions\/runs\/(\d+)$/,
    needs: ['actions', 'read'],
    handle: withRun(({ github }, run) => json(200, runShape(github, run))),
  },
  { method: 'GET', pattern: /^actions\/runs\/(\d+)\/jobs$/, needs: ['actions', 'read'], handle: withRun(jobs) },
  { method: 'POST', pattern: /^actions\/runs\/(\d+)\/cancel$/, needs: ['actions', 'write'], handle: withRun(cancel) },
  { method: 'GET', pattern: /^actions\/jobs\/(\d+)$/, needs: ['actions', 'read'], handle: job },
  { method: 'GET', pattern: /^actions\/jobs\/(\d+)\/logs$/, needs: ['actions', 'read'], handle: jobLogs },
  ...GIT_ROUTES,
  ...PULL_ROUTES,
  ...ISSUE_ROUTES,
  { method: 'GET', pattern: /^check-runs\/(\d+)\/annotations$/, needs: ['checks', 'read'], handle: annotations },
]

/** GitHub's answers for throttling and for an internal error. */
export function failGitHub(strike: 'throttle' | 'error'): Reply {
  if (strike === 'error') return problem(502, 'Server Error')
  return problem(403, 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.', {
    'retry-after': '1',
  })
}

/** Answers one request to the emulated REST API. */
export async function handleGitHub(github: GitHub, exchange: Exchange): Promise<Reply> {
  const reply = await route(github, exchange)
  const id = randomBytes(8).toString('hex').toUpperCase()
  const headers = { 'x-github-request-id': id, ...rateHeaders(), ...credentialHeaders(exchange), ...reply.headers }
  return { ...reply, headers }
}

/** GitHub sends the scopes of classic tokens with every answer, for other tokens none. */
function credentialHeaders({ headers }: Exchange): Record<string, string> {
  return /^(?:bearer|token) ghp_/i.test(headers.authorization ?? '') ? { 'x-oauth-scopes': 'repo, workflow' } : {}
}

async function route(github: GitHub, exchange: Exchange): Promise<Reply> {
  let path: string
  try {
    path = decodeURIComponent(exchange.url.pathname)
  } catch {
    return problem(400, 'Problems parsing the path')
  }
  const { method } = exchange
  const page = new RegExp(`^/${github.repository}/actions/runs/(\\d+)(?:/job/\\d+)?$`, 'i').exec(path)
  if (method === 'GET' && page) return runPage(github, Number(page[1]))
  const log = /^\/job-logs\/(\d+)$/.exec(path)
  if (method === 'GET' && log) return jobLog(github, Number(log[1]))
  const pull = new RegExp(`^/${github.repository}/pull/(\\d+)$`, 'i').exec(path)
  if (method === 'GET' && pull) return pullPage(github, Number(pull[1]))

  const header = exchange.headers.authorization
  if (header === undefined) return problem(401, 'Requires authentication')
  const token = /^(?:bearer|token) (.+)$/i.exec(header)?.[1] ?? ''
  const installation = /^\/app\/installations\/([^/]+)\/access_tokens$/.exec(path)?.[1]
  if (method === 'POST' && installation !== undefined && github.apps) {
    return mint(github, installation, token, exchange)
  }
  const minted = github.apps?.tokenOf(token) ?? null
  if (token !== github.options.token && token !== github.jobToken && !minted) return problem(401, 'Bad credentials')

  if (method === 'GET' && path === '/rate_limit') {
    const rate = rateLimit()
    return json(200, { resources: { core: rate, search: { ...rate, limit: 30, remaining: 30 } }, rate })
  }
  const prefix = `/repos/${github.repository}`
  const below = path.toLowerCase().startsWith(prefix.toLowerCase()) ? path.slice(prefix.length) : null
  if (below === null || (below !== '' && !below.startsWith('/'))) return notFound()
  for (const candidate of ROUTES) {
    const match = candidate.pattern.exec(below.slice(1))
    if (!match || candidate.method !== method) continue
    const [permission, level] = candidate.needs ?? ['metadata', 'read']
    if (minted && !reaches(minted.permissions[permission], level)) {
      return problem(403, 'Resource not accessible by integration', {
        'x-accepted-github-permissions': `${permission}=${level}`,
      })
    }
    return await candidate.handle({ github, exchange, args: match.slice(1) })
  }
  return notFound()
}

async function mint(github: GitHub, installation: string, jwt: string, { body }: Exchange): Promise<Reply> {
  const result = await github.apps?.mint(installation, jwt, body.toString('utf8'))
  if (!result) return notFound()
  if (!result.ok) return problem(result.status, result.message)
  const { token, permissions } = result.minted
  return json(201, {
    token,
    expires_at: expiryOf(result.minted),
    permissions,
    repository_selection: 'selected',
    repositories: [repositoryShape(github)],
  })
}

function rateLimit() {
  return { limit: RATE_LIMIT, used: 0, remaining: RATE_LIMIT, reset: Math.floor(Date.now() / 1000) + 3600 }
}

function rateHeaders(): Record<string, string> {
  const { limit, remaining, reset, used } = rateLimit()
  return {
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(reset),
    'x-ratelimit-used': String(used),
    'x-ratelimit-resource': 'core',
  }
}

async function dispatch({ github, exchange, args }: Call): Promise<Reply> {
  let body: Record<string, unknown>
  try {
    body = entries(JSON.parse(exchange.body.toString('utf8')))
  } catch {
    return problem(400, 'Problems parsing JSON')
  }
  if (typeof body.ref !== 'string') return problem(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
  const result = await github.dispatch(args[0] ?? '', body.ref, body.inputs)
  if (!result.ok) return problem(result.status, result.message)
  if (body.return_run_details !== true || github.options.runDetails === false) return { status: 204 }
  return json(200, {
    workflow_run_id: result.run.id,
    run_url: `${github.apiUrl}/repos/${github.repository}/actions/runs/${result.run.id}`,
    html_url: runHtmlUrl(github, result.run),
  })
}

async function workflow({ github, args }: Call): Promise<Reply> {
  const file = await github.findWorkflow(args[0] ?? '')
  if (!file) return notFound()
  // A file that is not valid is listed under its path, as on GitHub.
  const name = await loadWorkflow(file.path, file.content).then(
    (loaded) => loaded.name,
    () => file.path,
  )
  return json(200, workflowShape(github, file.path, name))
}

async function runs({ github, exchange, args }: Call): Promise<Reply> {
  let found = [...github.runs]
  if (args[0] !== undefined) {
    const file = await github.findWorkflow(args[0])
    if (!file) return notFound()
    found = found.filter((run) => run.workflow.path === file.path)
  }
  const query = exchange.url.searchParams
  const keep = (name: string, test: (run: RunState, value: string) => boolean) => {
    const value = query.get(name)
    if (value) found = found.filter((run) => test(run, value))
  }
  keep('status', (run, value) => run.status === value || run.conclusion === value)
  keep('event', (_, value) => value === 'workflow_dispatch')
  keep('branch', (_, value) => value === github.branch)
  keep('head_sha', (_, value) => value === github.sha)
  keep('actor', (_, value) => value.toLowerCase() === github.actor.toLowerCase())
  keep('created', (run, value) => isWithin(run.createdAt, value))
  const { items, headers } = paginate(exchange, found)
  return json(200, { total_count: found.length, workflow_runs: items.map((run) => runShape(github, run)) }, headers)
}

/** GitHub's date ranges: `>=T`, `<T`, `A..B`, `*..B`, a day or a moment. */
export function isWithin(moment: string, range: string): boolean {
  const at = Date.parse(moment)
  const between = /^(.+)\.\.(.+)$/.exec(range)
  if (between) {
    const [, from = '*', to = '*'] = between
    return (from === '*' || at >= Date.parse(from)) && (to === '*' || at <= endOf(to))
  }
  const compared = /^(>=|<=|>|<)(.+)$/.exec(range)
  const value = compared?.[2] ?? range
  switch (compared?.[1]) {
    case '>=':
      return at >= Date.parse(value)
    case '<=':
      return at <= endOf(value)
    case '>':
      return at > endOf(value)
    case '<':
      return at < Date.parse(value)
    default:
      return at >= Date.parse(value) && at <= endOf(value)
  }
}

/** The last moment of a day, or the moment itself. */
function endOf(value: string): number {
  return Date.parse(value) + (/^\d{4}-\d{2}-\d{2}$/.test(value) ? 86_400_000 - 1 : 0)
}

function withRun(handle: (call: Call, run: RunState) => Reply): Route['handle'] {
  return (call) => {
    const run = call.github.runOf(Number(call.args[0]))
    return run ? handle(call, run) : notFound()
  }
}

function jobs({ github, exchange }: Call, run: RunState): Reply {
  const { items, headers } = paginate(exchange, run.jobs)
  return json(200, { total_count: run.jobs.length, jobs: items.map((job) => jobShape(github, run, job)) }, headers)
}

function cancel({ github }: Call, run: RunState): Reply {
  if (!github.cancelRun(run.id)) return problem(409, 'Cannot cancel a workflow run that is completed.')
  return json(202, {})
}

function job({ github, args }: Call): Reply {
  const found = github.jobOf(Number(args[0]))
  return found ? json(200, jobShape(github, found.run, found.job)) : notFound()
}

function jobLogs({ github, args }: Call): Reply {
  const found = github.jobOf(Number(args[0]))
  if (!found) return notFound()
  return { status: 302, headers: { location: `${github.apiUrl}/job-logs/${found.job.id}` } }
}

/** The target of the API's redirection: at GitHub a blob store, which needs no token. */
function jobLog(github: GitHub, id: number): Reply {
  const found = github.jobOf(id)
  return found ? text(found.job.log.map((line) => `${line.at} ${line.text}\n`).join('')) : notFound()
}

function annotations({ github, exchange, args }: Call): Reply {
  const found = github.jobOf(Number(args[0]))
  if (!found) return notFound()
  const { items, headers } = paginate(exchange, found.job.annotations)
  return json(
    200,
    items.map((annotation) => annotationShape(github, annotation)),
    headers,
  )
}

async function contents({ github, exchange, args }: Call): Promise<Reply> {
  const ref = exchange.url.searchParams.get('ref') || github.branch
  const commit = github.git.resolve(ref)
  if (!commit) return problem(404, `No commit found for the ref ${ref}`)
  const path = args[0] ?? ''
  if (path.split('/').some((part) => part === '..' || part === '.' || part === '')) return notFound()
  const content = await github.git.file(commit.sha, path)
  if (content === null) return notFound()
  if (/application\/vnd\.github(?:\.v3)?\.raw/.test(exchange.headers.accept ?? '')) {
    return { status: 200, headers: { 'content-type': 'application/vnd.github.raw+json; charset=utf-8' }, body: content }
  }
  return json(200, contentShape(github, path, content))
}

/** The page of `html_url`: the run as plain text. */
function runPage(github: GitHub, id: number): Reply {
  const run = github.runOf(id)
  if (!run) return { ...text('There is no such run in this sandbox.\n'), status: 404 }
  const lines = [`${run.displayTitle} #${run.number}: ${run.conclusion ?? run.status}`, ...run.messages]
  for (const { name, conclusion, status, log, steps } of run.jobs) {
    lines.push('', `== ${name}: ${conclusion ?? status}`)
    for (const step of steps) lines.push(`   ${step.number} ${step.name}: ${step.conclusion ?? step.status}`)
    lines.push('', ...log.map((line) => `${line.at} ${line.text}`))
    for (const step of steps) if (step.summary !== '') lines.push('', step.summary)
  }
  return text(`${lines.join('\n')}\n`)
}

/** The same for a pull request. */
function pullPage(github: GitHub, number: number): Reply {
  const pull = github.git.pulls.find((one) => one.number === number)
  if (!pull) return { ...text('There is no such pull request in this sandbox.\n'), status: 404 }
  const { title, state, head, base, body } = pull
  return text(`${title} #${number}: ${state}\n${head} → ${base}\n\n${body ?? ''}\n`)
}
