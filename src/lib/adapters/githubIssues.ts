import * as z from 'zod/mini'
import { ClawctlError } from '../domain/errors.js'
import { parseJson } from '../domain/json.js'
import type { Issues } from '../ops/drift/ports.js'
import { HttpFailure, type HttpResponse, httpRequest } from './httpClient.js'
import { withRetry } from './retry.js'

const TIMEOUT_MS = 8_000
const API_VERSION = '2022-11-28'

const issueSchema = z.object({ number: z.number(), html_url: z.string(), body: z.nullish(z.string()) })
const toIssue = (issue: z.infer<typeof issueSchema>) => ({
  number: issue.number,
  url: issue.html_url,
  body: issue.body ?? '',
})

/** GitHub answered, and not with what was asked for. */
class Refused extends Error {
  readonly response: HttpResponse
  constructor(response: HttpResponse) {
    super(`HTTP ${response.status}`)
    this.response = response
  }
}

/** The repository's issues through GitHub's REST API. The token needs `issues: write`. */
export function createIssues(settings: {
  apiUrl: string
  token: () => Promise<string>
  owner: string
  repo: string
  userAgent: string
}): Issues {
  const base = `${settings.apiUrl}/repos/${settings.owner}/${settings.repo}/issues`

  async function call(what: string, method: 'GET' | 'POST' | 'PATCH', path: string, body?: object): Promise<unknown> {
    const exchange = async () => {
      const response = await httpRequest({
        method,
        url: base + path,
        headers: {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${await settings.token()}`,
          'user-agent': settings.userAgent,
          'x-github-api-version': API_VERSION,
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
        timeoutMs: TIMEOUT_MS,
      })
      if (response.status < 200 || response.status >= 300) throw new Refused(response)
      return parseJson(response.body.toString())
    }
    // A second POST would be a second issue or comment.
    const isPassing = (error: unknown) =>
      (error instanceof HttpFailure && (method !== 'POST' || !error.sent)) ||
      (error instanceof Refused && error.response.status >= 500 && method !== 'POST')
    try {
      return await withRetry(exchange, isPassing)
    } catch (error) {
      throw explain(error, what)
    }
  }

  return {
    async open(label) {
      const query = new URLSearchParams({ state: 'open', labels: label, per_page: '100' })
      return parse(z.array(issueSchema), await call('list the issues', 'GET', `?${query}`)).map(toIssue)
    },
    async create({ title, body, label }) {
      const issue = await call('open an issue', 'POST', '', { title, body, labels: [label] })
      return toIssue(parse(issueSchema, issue))
    },
    async update(number, body) {
      await call('renew the issue', 'PATCH', `/${number}`, { body })
    },
    async close(number, comment) {
      await call('comment on the issue', 'POST', `/${number}/comments`, { body: comment })
      await call('close the issue', 'PATCH', `/${number}`, { state: 'closed' })
    },
  }
}

function parse<T>(schema: z.ZodMiniType<T>, data: unknown): T {
  const parsed = schema.safeParse(data)
  if (parsed.success) return parsed.data
  throw new ClawctlError('UPSTREAM', 'GitHub answered in a form that clawctl does not know.')
}

function explain(error: unknown, what: string): ClawctlError {
  if (!(error instanceof Refused)) {
    return new ClawctlError('UPSTREAM', `GitHub could not be asked to ${what}.`, { cause: error })
  }
  const { status } = error.response
  if (status === 429 || (status === 403 && /rate limit/i.test(error.response.body.toString()))) {
    return new ClawctlError('RATE_LIMITED', `GitHub asked to slow down, so it could not ${what}.`, {
      hint: 'Wait a minute, then try again.',
    })
  }
  if (status === 401 || status === 403 || status === 404 || status === 410) {
    return new ClawctlError('DENIED', `GitHub refused to ${what} (${status}).`, {
      hint: 'The token needs issues: write, and the repository needs issues.',
    })
  }
  return new ClawctlError('UPSTREAM', `GitHub failed to ${what} (${status}).`)
}
