import { RequestError } from '@octokit/request-error'
import { Octokit } from '@octokit/rest'
import { ClawctlError } from '../../domain/errors.js'
import type { InstallationToken } from '../../ops/github/mintToken.js'
import { HttpFailure, httpRequest } from '../httpClient.js'
import { withRetry } from '../retry.js'
import { explainGithub, isLimited, retryAfterMs } from './errors.js'

/** Three attempts of 8 s for a CI job; a Lambda sets its own, shorter limits. */
const RETRIES = { attempts: 3, attemptMs: 8_000 }
/** If GitHub asks for a longer pause, the request fails, because the caller waits for the answer. */
const MAX_PAUSE_MS = 2_000
export const API_VERSION = '2022-11-28'
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** The credential for GitHub. */
export interface GithubCredential {
  /** Called before each request: a token may expire after an hour. */
  token: () => Promise<string>
  /** Set if a GitHub App mints the tokens. */
  app?: {
    minted(): Promise<InstallationToken>
    /** Discards a token that GitHub did not accept. */
    refused(token: string): void
  }
}

export interface GithubSettings extends GithubCredential {
  /** `https://api.github.com`, or GITHUB_API_URL's value. */
  apiUrl: string
  owner: string
  repo: string
  /** File name below .github/workflows. */
  workflow: string
  ref: string
  userAgent: string
  retries?: { attempts: number; attemptMs: number }
}

interface CallOptions {
  /** False for a request that must not happen twice: no retry if it may have arrived. */
  safe: boolean
  /** The permissions that the token needs; default: those of a dispatch. */
  needs?: string
  notFound?: (error: RequestError) => ClawctlError
}

/** Octokit with our transport and credential; `call` adds retries and error codes. */
export function createGithubClient(settings: GithubSettings) {
  const { attempts, attemptMs } = settings.retries ?? RETRIES
  const octokit = new Octokit({
    baseUrl: settings.apiUrl,
    userAgent: settings.userAgent,
    request: { fetch: transport(attemptMs) },
    // Otherwise Octokit prints deprecation warnings.
    log: silent,
  })
  octokit.hook.wrap('request', async (request, options) => {
    const send = (token: string) => {
      options.headers.authorization = `Bearer ${token}`
      options.headers['x-github-api-version'] = API_VERSION
      return request(options)
    }
    const token = await settings.token()
    try {
      return await send(token)
    } catch (error) {
      if (!settings.app || !(error instanceof RequestError) || error.status !== 401) throw error
      // Revoked or unknown to GitHub: nothing was done. Try once with a new token.
      settings.app.refused(token)
      return await send(await settings.token())
    }
  })

  async function call<T>(what: string, { safe, needs, notFound }: CallOptions, send: () => Promise<T>): Promise<T> {
    try {
      // No retry of a POST that may have reached GitHub: the caller searches the run by its request id instead.
      return await withRetry(send, {
        attempts,
        retryable: (error) => isPassing(error) && (safe || !mayHaveArrived(error)),
        pauseMs: retryAfterMs,
      })
    } catch (error) {
      if (error instanceof RequestError && error.status === 404 && notFound) throw notFound(error)
      const context = {
        what,
        ...settings,
        isApp: settings.app !== undefined,
        repositoryVisible,
        ...(needs === undefined ? {} : { needs }),
      }
      throw await explainGithub(error, context)
    }
  }

  /** A 404 does not show what is missing. One more request distinguishes repository and workflow. */
  async function repositoryVisible(): Promise<boolean | null> {
    try {
      await octokit.rest.repos.get({ owner: settings.owner, repo: settings.repo })
      return true
    } catch (error) {
      return error instanceof RequestError && error.status === 404 ? false : null
    }
  }

  return { octokit, call }
}
export type GithubClient = ReturnType<typeof createGithubClient>

function mayHaveArrived(error: unknown): boolean {
  if (error instanceof RequestError && isLimited(error)) return false
  const cause = error instanceof RequestError ? error.cause : error
  return !(cause instanceof HttpFailure) || cause.sent
}

/** Retry a rate limit only if GitHub names a short pause; retry an outage unless GitHub asks for a longer one. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof RequestError) || error.cause instanceof ClawctlError) return false
  const pause = retryAfterMs(error)
  if (pause > MAX_PAUSE_MS) return false
  return isLimited(error) ? pause > 0 : error.status >= 500
}

interface FetchInit {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** Octokit's transport over node:http(s): see httpClient.ts for why not fetch. */
function transport(timeoutMs: number) {
  return async (url: string, init: FetchInit) => {
    const response = await httpRequest({
      method: init.method ?? 'GET',
      url,
      headers: init.headers ?? {},
      ...(init.body === undefined || init.body === null ? {} : { body: init.body }),
      timeoutMs,
    })
    if (response.status >= 300 && response.status < 400 && response.status !== 304) {
      // Not followed: a redirected POST could start a workflow elsewhere.
      throw new ClawctlError('DENIED', `GitHub reports that the repository has moved (${response.status}).`, {
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
}
