import githubAppJwt from 'universal-github-app-jwt'
import * as z from 'zod/mini'
import { ClawctlError } from '../../domain/errors.js'
import { parseAs } from '../../domain/json.js'
import type { InstallationToken } from '../../ops/github/mintToken.js'
import type { Clock } from '../../ops/ports.js'
import { HttpFailure, type HttpResponse, httpRequest } from '../httpClient.js'
import { withRetry } from '../retry.js'
import { API_VERSION, type GithubCredential } from './client.js'

const RETRIES = { attempts: 3, attemptMs: 8_000 }
/** An installation token expires after an hour; the minimum rest is longer than any request or clone. */
const RENEW_BEFORE_MS = 5 * 60_000
/** The JWT is dated half a minute back and ends within GitHub's ten minutes, to tolerate a wrong clock. */
const TOLERATED_SKEW_MS = 30_000

export interface GithubAppSettings {
  apiUrl: string
  /** The App's id, or its client id. */
  appId: string
  installationId: string
  /** PEM in PKCS#8, as `parsePrivateKey` returns it. */
  privateKey: string
  /** Repositories of the tokens. Default: all of the installation's. */
  repositories?: readonly string[]
  /** Permissions of the tokens. Default: all of the installation's. */
  permissions?: Readonly<Record<string, string>>
  clock: Pick<Clock, 'now'>
  userAgent: string
  retries?: { attempts: number; attemptMs: number }
}

const tokenSchema = z.object({
  token: z.string().check(z.regex(/^[\x21-\x7e]+$/)),
  expires_at: z.string().check(z.refine((text) => !Number.isNaN(Date.parse(text)))),
  permissions: z._default(z.record(z.string(), z.string()), {}),
})

/** Installation tokens of a GitHub App, kept until shortly before they end. Only one is minted at a time. */
export function createGithubApp(settings: GithubAppSettings): Required<GithubCredential> {
  let kept: InstallationToken | null = null
  let minting: Promise<InstallationToken> | null = null
  const minted = async (): Promise<InstallationToken> => {
    const now = settings.clock.now().getTime()
    if (kept && Date.parse(kept.expiresAt) - RENEW_BEFORE_MS > now) return kept
    minting ??= mint(settings).finally(() => {
      minting = null
    })
    kept = await minting
    return kept
  }
  return {
    token: async () => (await minted()).token,
    app: {
      minted,
      refused(token) {
        if (kept?.token === token) kept = null
      },
    },
  }
}

/** @throws ClawctlError DENIED, RATE_LIMITED, UPSTREAM */
async function mint(settings: GithubAppSettings): Promise<InstallationToken> {
  const { apiUrl, installationId, repositories, permissions, clock } = settings
  const { attempts, attemptMs } = settings.retries ?? RETRIES
  const body = JSON.stringify({ ...(repositories ? { repositories } : {}), ...(permissions ? { permissions } : {}) })
  const exchange = async () => {
    const response = await httpRequest({
      method: 'POST',
      url: `${apiUrl.replace(/\/+$/, '')}/app/installations/${encodeURIComponent(installationId)}/access_tokens`,
      headers: {
        authorization: `Bearer ${await jwt(settings)}`,
        accept: 'application/vnd.github+json',
        'content-type': 'application/json',
        'user-agent': settings.userAgent,
        'x-github-api-version': API_VERSION,
      },
      body,
      timeoutMs: attemptMs,
    })
    if (response.status >= 500) throw new Busy(response.status)
    return response
  }
  let response: HttpResponse
  try {
    // Safe to repeat: an unused token expires.
    response = await withRetry(exchange, { attempts, retryable: (e) => e instanceof Busy || e instanceof HttpFailure })
  } catch (error) {
    if (error instanceof ClawctlError) throw error
    const why = error instanceof Busy || error instanceof HttpFailure ? ` (${error.message})` : ''
    throw new ClawctlError('UPSTREAM', `GitHub could not be reached to mint an installation token${why}.`, {
      cause: error,
    })
  }
  if (response.status !== 201) throw explain(response, settings)
  const answer = parseAs(tokenSchema, response.body.toString())
  if (!answer) throw new ClawctlError('UPSTREAM', 'GitHub answered the token request in an unknown form.')
  const { token, expires_at: expiresAt, permissions: granted } = answer
  if (Date.parse(expiresAt) <= clock.now().getTime()) throw skewed(response, settings) ?? expired()
  return { token, expiresAt, permissions: granted }
}

class Busy extends Error {
  constructor(status: number) {
    super(`HTTP ${status}`)
  }
}

async function jwt({ appId, privateKey, clock }: GithubAppSettings): Promise<string> {
  const now = Math.floor(clock.now().getTime() / 1000)
  return (await githubAppJwt({ id: appId, privateKey, now })).token
}

const denied = (message: string, hint: string) => new ClawctlError('DENIED', message, { hint })
const expired = () => new ClawctlError('UPSTREAM', 'GitHub minted an installation token that has expired already.')

/** The error for a maintainer, chosen by GitHub's text, which itself is not passed on. */
function explain(response: HttpResponse, settings: GithubAppSettings): ClawctlError {
  const { status, headers } = response
  const { appId, installationId, repositories } = settings
  const words = messageOf(response)
  if (status === 401) {
    return (
      skewed(response, settings) ??
      denied(
        `GitHub does not accept the key of the GitHub App ${appId} (401).`,
        'Check that GITHUB_APP_PRIVATE_KEY is a key of the App GITHUB_APP_ID, and was not deleted there.',
      )
    )
  }
  if (status === 429 || (status === 403 && (headers['retry-after'] !== undefined || /rate limit|abuse/i.test(words)))) {
    return new ClawctlError('RATE_LIMITED', 'GitHub throttles requests, so no installation token was minted.', {
      hint: 'Wait a minute, then try again.',
    })
  }
  if (status === 403) {
    return /suspended/i.test(words)
      ? denied(
          `The GitHub App's installation ${installationId} is suspended (403).`,
          "Unsuspend it in the organization's settings.",
        )
      : denied(
          `GitHub refused to mint a token for the installation ${installationId} (403).`,
          "Check the App's installation.",
        )
  }
  if (status === 404 && /integration/i.test(words)) {
    return denied(
      `The GitHub App ${appId} does not exist (404).`,
      "Check GITHUB_APP_ID: the App's number or client id.",
    )
  }
  if (status === 404) {
    return denied(
      `The GitHub App ${appId} has no installation ${installationId} (404).`,
      "Check GITHUB_APP_INSTALLATION_ID: it is the number at the end of the installation's address.",
    )
  }
  if (status === 422) {
    return /permission/i.test(words)
      ? denied(
          'The installation lacks the permissions that the token needs (422).',
          `Grant the App ${permissionText(settings.permissions)}, and accept the change in the organization.`,
        )
      : denied(
          `The installation has no access to ${repositories?.join(', ') ?? 'the repository'} (422).`,
          "Add the repository to the App's installation.",
        )
  }
  return new ClawctlError('UPSTREAM', `GitHub failed to mint an installation token (${status}).`)
}

const permissionText = (permissions: GithubAppSettings['permissions']) =>
  Object.entries(permissions ?? {})
    .map(([name, level]) => `${name}: ${level}`)
    .join(', ')

/** With a wrong clock, a JWT is expired or not yet valid. */
function skewed({ headers }: HttpResponse, { clock }: GithubAppSettings): ClawctlError | null {
  const skew = clock.now().getTime() - Date.parse(headers.date ?? '')
  if (!(Math.abs(skew) > TOLERATED_SKEW_MS)) return null
  const off = `${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? 'ahead' : 'behind'}`
  return denied(
    `GitHub does not accept the GitHub App's JWT: this machine's clock is ${off}.`,
    'Set the clock right (NTP).',
  )
}

function messageOf({ body }: HttpResponse): string {
  return parseAs(z.object({ message: z.string() }), body.toString())?.message ?? ''
}
