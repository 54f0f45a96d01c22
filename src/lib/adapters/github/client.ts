import { RequestError } from '@octokit/request-error'
import { Octokit } from '@octokit/rest'
import { ClawctlError } from '../../domain/errors.js'
import type { InstallationToken } from '../../ops/github/ports.js'
import { HttpFailure, httpRequest } from '../httpClient.js'
import { withRetry } from '../retry.js'
import { explainGithub, isLimited, retryAfterMs } from './errors.js'

/** Three attempts of 8 s: a CI job waits out a bad minute, and a Lambda says how little time it has. */
const PATIENCE = { attempts: 3, attemptMs: 8_000 }
/** A longer pause than this is the caller's to make: somebody waits for the answer. */
const LONGEST_PAUSE_MS = 2_000
export const API_VERSION = '2022-11-28'
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** What GitHub is asked with. */
export interface GithubCredential {
  /** Asked for before each request: a token may be of an hour's life. */
  token: () => Promise<string>
  /** Where a GitHub App mints the tokens. */
  app?: {
    minted(): Promise<InstallationToken>
    /** GitHub did not accept this token: it is not given out again. */
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
  patience?: { attempts: number; attemptMs: number }
}

interface CallOptions {
  /** False for what must not happen twice: it is not sent again where it may have arrived. */
  safe: boolean
  /** The permissions that the token needs; those of a dispatch where absent. */
  needs?: string
  notFound?: (error: RequestError) => ClawctlError
}

/** Octokit with our transport, credential, retries and error codes; `call` is the one way to send a request. */
export function createGithubClient(settings: GithubSettings) {
  const { attempts, attemptMs } = settings.patience ?? PATIENCE
  const octokit = new Octokit({
    baseUrl: settings.apiUrl,
    userAgent: settings.userAgent,
    request: { fetch: transport(attemptMs) },
    // Octokit would print deprecations into our output.
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
      // Revoked, or forgotten on GitHub's side: nothing was done, and a new one may be asked for, once.
      settings.app.refused(token)
      return await send(await settings.token())
    }
  })

  async function call<T>(what: string, { safe, needs, notFound }: CallOptions, send: () => Promise<T>): Promise<T> {
    try {
      // A POST that may have reached GitHub is not sent again: the caller looks for the run by its request id instead.
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

  /** A 404 says neither what is missing nor whether it is hidden: one more question tells repository and workflow apart. */
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

/** A limit passes soon only where GitHub says when; an outage, unless GitHub asks for a longer pause. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof RequestError) || error.cause instanceof ClawctlError) return false
  const pause = retryAfterMs(error)
  if (pause > LONGEST_PAUSE_MS) return false
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
}
