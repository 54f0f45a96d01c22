import { Octokit } from '@octokit/core'
import { RequestError } from '@octokit/request-error'
import * as z from 'zod/mini'
import type { DeployRequest } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { REGISTRY_PATH } from '../domain/paths.js'
import type { Job, Run } from '../domain/run.js'
import type { RegistrySource, Runs } from '../ops/ports.js'
import { HttpFailure, httpRequest } from './httpClient.js'
import { withRetry } from './retry.js'

/** Per attempt; the Lambda has 30 s for all of them. */
const TIMEOUT_MS = 8_000
/** A longer pause than this is the caller's to make: somebody waits for the answer. */
const LONGEST_PAUSE_MS = 2_000
const API_VERSION = '2022-11-28'
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

export interface GithubSettings {
  /** `https://api.github.com`, or GITHUB_API_URL's value. */
  apiUrl: string
  /** Asked for before each request: a token may be of an hour's life. */
  token: () => Promise<string>
  owner: string
  repo: string
  /** File name below .github/workflows. */
  workflow: string
  ref: string
  userAgent: string
}

const runSchema = z.object({
  id: z.number(),
  html_url: z.string(),
  display_title: z.string(),
  status: z.string(),
  conclusion: z.nullable(z.string()),
  created_at: z.string(),
  run_started_at: z.nullish(z.string()),
  updated_at: z.string(),
})
const runsSchema = z.object({ workflow_runs: z.array(runSchema) })
const jobsSchema = z.object({
  jobs: z.array(
    z.object({
      name: z.string(),
      steps: z.optional(
        z.array(
          z.object({
            name: z.string(),
            status: z.string(),
            conclusion: z.nullable(z.string()),
          }),
        ),
      ),
    }),
  ),
})
const dispatchSchema = z.object({ workflow_run_id: z.number(), html_url: z.string() })

/** The deploy workflow's runs and the registry at the deployed ref, through GitHub's REST API. */
export function createGithub(settings: GithubSettings): Runs & { registry: RegistrySource } {
  const octokit = new Octokit({
    baseUrl: settings.apiUrl,
    userAgent: settings.userAgent,
    request: { fetch: fetchThroughNode },
    // Octokit would print deprecations into our output.
    log: silent,
  })
  octokit.hook.before('request', async (options) => {
    options.headers.authorization = `Bearer ${await settings.token()}`
    options.headers['x-github-api-version'] = API_VERSION
  })
  const repository = { owner: settings.owner, repo: settings.repo }
  const workflow = { ...repository, workflow_id: settings.workflow }

  return {
    async dispatch(request) {
      const response = await call('start the workflow', false, () =>
        octokit.request('POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches', {
          ...workflow,
          ref: settings.ref,
          inputs: inputsOf(request),
          return_run_details: true,
        }),
      )
      const details = dispatchSchema.safeParse(response.data)
      return details.success ? { id: details.data.workflow_run_id, url: details.data.html_url } : null
    },
    async list(limit) {
      const response = await call("list the workflow's runs", true, () =>
        octokit.request('GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs', {
          ...workflow,
          per_page: limit,
        }),
      )
      return parse(runsSchema, response.data).workflow_runs.map(
        (run): Run => ({
          id: run.id,
          url: run.html_url,
          title: run.display_title,
          status: statusOf(run.status),
          conclusion: run.conclusion,
          createdAt: run.created_at,
          startedAt: run.run_started_at ?? null,
          updatedAt: run.updated_at,
        }),
      )
    },
    async jobs(runId) {
      const response = await call("read the run's jobs", true, () =>
        octokit.request('GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs', {
          ...repository,
          run_id: runId,
          per_page: 100,
        }),
      )
      return parse(jobsSchema, response.data).jobs.map(
        (job): Job => ({
          name: job.name,
          steps: (job.steps ?? []).map((step) => ({ ...step, status: statusOf(step.status) })),
        }),
      )
    },
    registry: {
      async read() {
        const path = REGISTRY_PATH
        const origin = `${settings.owner}/${settings.repo}@${settings.ref}:${path}`
        const response = await call(
          `read ${path}`,
          true,
          () =>
            octokit.request('GET /repos/{owner}/{repo}/contents/{path}', {
              ...repository,
              path,
              ref: settings.ref,
              mediaType: { format: 'raw' },
            }),
          () => new ClawctlError('REGISTRY_NOT_FOUND', `There is no ${origin}, or the GitHub token may not read it.`),
        )
        return { text: String(response.data), origin }
      },
    },
  }

  async function call<T>(
    what: string,
    safe: boolean,
    send: () => Promise<T>,
    notFound?: () => ClawctlError,
  ): Promise<T> {
    try {
      // A POST that may have reached GitHub is not sent again: the caller looks for the run by its request id instead.
      return await withRetry(send, (error) => isPassing(error) && (safe || !mayHaveArrived(error)), retryAfterMs)
    } catch (error) {
      if (error instanceof RequestError && error.status === 404 && notFound) throw notFound()
      throw explain(error, what, settings)
    }
  }
}

/** GitHub has more words for waiting (`pending`, `waiting`, `requested`) and may find others. */
function statusOf(status: string): 'queued' | 'in_progress' | 'completed' {
  return status === 'completed' || status === 'in_progress' ? status : 'queued'
}

/** The workflow's inputs; a test holds these names against `.github/workflows/fleet-deploy.yml`. */
export function inputsOf(request: DeployRequest & { requestId: string }): Record<string, string> {
  const inputs = {
    target: request.target,
    ami_override: request.amiOverride,
    request_id: request.requestId,
    requested_by: request.requestedBy,
    caller: request.caller,
    retire: request.retire ? 'true' : undefined,
  }
  return Object.fromEntries(Object.entries(inputs).flatMap(([name, value]) => (value ? [[name, value]] : [])))
}

function parse<T>(schema: z.ZodMiniType<T>, data: unknown): T {
  const parsed = schema.safeParse(data)
  if (parsed.success) return parsed.data
  throw new ClawctlError('UPSTREAM', 'GitHub answered in a form that clawctl does not know.')
}

function mayHaveArrived(error: unknown): boolean {
  if (error instanceof RequestError && isLimited(error)) return false
  const cause = error instanceof RequestError ? error.cause : error
  return !(cause instanceof HttpFailure) || cause.sent
}

/** https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: 403 or 429, not always with headers. */
function isLimited(error: RequestError): boolean {
  if (error.status === 429) return true
  const headers = error.response?.headers
  const told = headers?.['retry-after'] !== undefined || headers?.['x-ratelimit-remaining'] === '0'
  return error.status === 403 && (told || /rate limit/i.test(error.message))
}

function retryAfterMs(error: unknown): number {
  const seconds = error instanceof RequestError ? Number(error.response?.headers['retry-after'] ?? 0) : 0
  return Number.isFinite(seconds) ? seconds * 1000 : 0
}

/** A limit passes soon only where GitHub says when. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof RequestError) || error.cause instanceof ClawctlError) return false
  if (!isLimited(error)) return error.status >= 500
  const pause = retryAfterMs(error)
  return pause > 0 && pause <= LONGEST_PAUSE_MS
}

/** What a maintainer has to mend. GitHub's own text is not passed on: it may quote what was sent. */
function explain(error: unknown, what: string, settings: GithubSettings): ClawctlError {
  if (error instanceof ClawctlError) return error
  if (error instanceof RequestError && error.cause instanceof ClawctlError) return error.cause
  const where = `${settings.owner}/${settings.repo}`
  if (!(error instanceof RequestError)) {
    return new ClawctlError('UPSTREAM', `GitHub could not be asked to ${what}.`, { cause: error })
  }
  if (error.status === 401) {
    return new ClawctlError('DENIED', `GitHub does not accept the token (401), so it could not ${what}.`, {
      hint: "Renew the server's GITHUB_TOKEN.",
    })
  }
  if (isLimited(error)) {
    return new ClawctlError('RATE_LIMITED', `GitHub asked to slow down, so it could not ${what}.`, {
      hint: 'Wait a minute, then try again.',
    })
  }
  if (error.status === 403) {
    return new ClawctlError('DENIED', `GitHub refused to ${what} in ${where} (403).`, {
      hint: 'The token needs actions: write and contents: read on this repository.',
    })
  }
  if (error.status === 404) {
    return new ClawctlError(
      'DENIED',
      `GitHub knows no ${settings.workflow} in ${where}, or the token may not see it (404).`,
      {
        hint: "Check GITHUB_REPO, GITHUB_WORKFLOW and the token's repository access.",
      },
    )
  }
  if (error.status === 422) {
    return new ClawctlError('DENIED', `GitHub refused to ${what} (422).`, {
      hint: `Look at ${settings.workflow} on ${settings.ref} in the Actions tab: GitHub must be able to parse it, and it must have workflow_dispatch with the inputs of this version.`,
    })
  }
  return new ClawctlError('UPSTREAM', `GitHub failed to ${what} (${error.status}).`, { cause: error })
}

/** Octokit's transport over node:http(s): see httpClient.ts for why not fetch. */
async function fetchThroughNode(
  url: string,
  init: { method?: string; headers?: Record<string, string>; body?: string },
) {
  const response = await httpRequest({
    method: init.method ?? 'GET',
    url,
    headers: init.headers ?? {},
    ...(init.body === undefined || init.body === null ? {} : { body: init.body }),
    timeoutMs: TIMEOUT_MS,
  })
  if (response.status >= 300 && response.status < 400 && response.status !== 304) {
    // Not followed: a redirected POST could start a workflow somewhere else.
    throw new ClawctlError('DENIED', `GitHub says that the repository has moved (${response.status}).`, {
      hint: "Set GITHUB_REPO to the repository's new name.",
    })
  }
  return {
    status: response.status,
    url,
    ok: response.status >= 200 && response.status < 300,
    headers: new Map(Object.entries(response.headers)),
    text: async () => response.body.toString(),
    json: async () => JSON.parse(response.body.toString()),
    arrayBuffer: async () => response.body,
  }
}
