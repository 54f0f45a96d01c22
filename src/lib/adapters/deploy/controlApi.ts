import type * as z from 'zod/mini'
import { failureSchema } from '../../domain/contract/failure.js'
import { fleetAnswerSchema } from '../../domain/contract/fleet.js'
import { freezesAnswerSchema } from '../../domain/contract/freeze.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'
import type { ControlApi } from '../../ops/deploy/controlApiPlane.js'
import { HttpFailure, type HttpResponse, httpRequest } from '../httpClient.js'
import { parseRetryAfter, retryHint, withRetry } from '../retry.js'

/** The Lambda's own limit is 30 s. */
const TIMEOUT_MS = 35_000
/** For all attempts of one call. */
const GIVE_UP_MS = 38_000

/** The longest wait without a progress line. */
const NOTICE_MS = 10_000

/** An answer that is not from the Control API: the Function URL's own 429, 502 or 503, or a proxy's page. */
class ForeignAnswer extends Error {
  readonly response: HttpResponse
  constructor(response: HttpResponse) {
    super(`HTTP ${response.status}`)
    this.response = response
  }

  get retryAfterMs(): number {
    return parseRetryAfter(this.response.headers['retry-after'])
  }
}

/**
 * The Control API over HTTPS. Every call may be retried: the same request id starts one run, and a code is accepted again
 * for the same request. Upstream failures that the API reports were retried there, and are not retried again.
 * @param options.token never put into a message, a URL or an argument
 * @param options.onWait called every ten seconds while a call waits
 * @param options.interruption aborts a call, its retries and their pauses
 */
export function createControlApi(options: {
  url: string
  token: string
  userAgent: string
  interruption?: () => AbortSignal
  /** Time limit per attempt, for callers that must not wait long. */
  timeoutMs?: number
  onWait?: (text: string) => void
  /** Called with the `Date` of every answer. */
  onDate?: (date: string | undefined) => void
  /** For tests. */
  noticeMs?: number
}): ControlApi {
  const base = options.url.replace(/\/+$/, '')
  async function call<T>(
    schema: z.ZodMiniType<T>,
    method: 'GET' | 'POST',
    path: string,
    { body, isSlow = true }: { body?: unknown; isSlow?: boolean } = {},
  ): Promise<T> {
    // For all attempts together.
    const limit = AbortSignal.timeout(GIVE_UP_MS)
    const interruption = options.interruption?.()
    const signal = interruption ? AbortSignal.any([interruption, limit]) : limit
    const exchange = async (): Promise<unknown> => {
      const response = await httpRequest({
        method,
        url: base + path,
        headers: {
          authorization: `Bearer ${options.token}`,
          accept: 'application/json',
          'user-agent': options.userAgent,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
        signal,
      })
      options.onDate?.(response.headers.date)
      const answer = parseJson(response.body.toString())
      const failure = failureSchema.safeParse(answer)
      if (failure.success) {
        const { code, message, hint } = failure.data.error
        throw new ClawctlError(code, message, { hint })
      }
      if (response.status !== 200 && response.status !== 202) throw new ForeignAnswer(response)
      return answer
    }
    let answer: unknown
    const started = performance.now()
    const notice = setInterval(() => {
      const seconds = Math.round((performance.now() - started) / 1000)
      if (isSlow) options.onWait?.(`Waiting for ${new URL(base).host} (${seconds} s).`)
    }, options.noticeMs ?? NOTICE_MS)
    try {
      answer = await withRetry(exchange, {
        retryable: isRetryable,
        pauseMs: (error) => (error instanceof ForeignAnswer ? error.retryAfterMs : 0),
        signal,
      })
    } catch (error) {
      if (interruption?.aborted) throw interrupted(method, error)
      if (limit.aborted) throw gaveUp(base, error)
      throw explain(error, base)
    } finally {
      clearInterval(notice)
    }
    const parsed = schema.safeParse(answer)
    if (parsed.success) return parsed.data
    throw new ClawctlError('UPSTREAM', `The answer of ${base} is not from the Control API.`, {
      hint: 'Check the URL, and that clawctl and the Control API are of the same version.',
    })
  }
  // Schemas are built when their module loads: each command loads those of its own answer, and all that of `fleet status`.
  const deployContract = () => import('../../domain/contract/deploy.js')
  return {
    async fleet() {
      return (await call(fleetAnswerSchema, 'GET', '/v1/fleet')).fleet
    },
    async host(id) {
      const { hostAnswerSchema } = await import('../../domain/contract/host.js')
      return (await call(hostAnswerSchema, 'GET', `/v1/fleet/${encodeURIComponent(id)}`)).host
    },
    async createDeploy(request) {
      const { deployAnswerSchema } = await deployContract()
      return (await call(deployAnswerSchema, 'POST', '/v1/deploys', { body: request })).deploy
    },
    async freeze(request) {
      return (await call(freezesAnswerSchema, 'POST', '/v1/freezes', { body: request })).freezes
    },
    async unfreeze(request) {
      return (await call(freezesAnswerSchema, 'POST', '/v1/unfreezes', { body: request })).freezes
    },
    async cancel(requestId, request) {
      const { deployAnswerSchema } = await deployContract()
      const path = `/v1/deploys/${encodeURIComponent(requestId)}/cancel`
      return (await call(deployAnswerSchema, 'POST', path, { body: request })).deploy
    },
    async deploys({ limit, before }) {
      const { deploysAnswerSchema } = await deployContract()
      const query = `limit=${limit}${before === undefined ? '' : `&before=${encodeURIComponent(before)}`}`
      const {
        deploys,
        next = null,
        sources = ALL_READ,
      } = await call(deploysAnswerSchema, 'GET', `/v1/deploys?${query}`)
      return { deploys, next, sources }
    },
    async deploy(requestId, poll) {
      const { deployDetailAnswerSchema } = await deployContract()
      const { wait, seen } = poll ?? {}
      const query = wait === undefined ? '' : `?wait=${wait}${seen === undefined ? '' : `&seen=${seen}`}`
      const path = `/v1/deploys/${encodeURIComponent(requestId)}${query}`
      const isSlow = wait === undefined
      const answer = await call(deployDetailAnswerSchema, 'GET', path, { isSlow })
      return { deploy: answer.deploy, version: answer.version ?? null }
    },
    async preflight() {
      const { preflightAnswerSchema } = await import('../../domain/contract/preflight.js')
      return (await call(preflightAnswerSchema, 'GET', '/v1/preflight')).preflight.checks
    },
  }
}

/** The sources of an older Control API, which does not report them. */
const ALL_READ = { runs: 'read', records: 'read' } as const

function interrupted(method: 'GET' | 'POST', cause: unknown): ClawctlError {
  const hint = 'The Control API may have received the request: check with `clawctl fleet status`.'
  return new ClawctlError('CANCELLED', 'It was interrupted.', { cause, ...(method === 'POST' ? { hint } : {}) })
}

function gaveUp(base: string, cause: unknown): ClawctlError {
  return new ClawctlError('UPSTREAM', `${base} did not answer within ${GIVE_UP_MS / 1000} s.`, {
    hint: 'Check the network, then try again; the same request id starts nothing twice.',
    cause,
  })
}

function isRetryable(error: unknown): boolean {
  if (error instanceof HttpFailure) return true
  return error instanceof ForeignAnswer && (error.response.status === 429 || error.response.status >= 500)
}

function explain(error: unknown, base: string): ClawctlError {
  if (error instanceof ClawctlError) return error
  if (error instanceof ForeignAnswer) {
    const { status } = error.response
    const when = retryHint(error.retryAfterMs)
    if (status === 429) {
      return new ClawctlError('RATE_LIMITED', 'The Control API is busy (HTTP 429).', {
        hint: when ?? 'Wait a minute, then try again.',
      })
    }
    return new ClawctlError(
      'UPSTREAM',
      `${base} answered HTTP ${status}, and the answer is not from the Control API.`,
      {
        hint: `${when ? `${when} Else check` : 'Check'} the URL; if it is right, check the Lambda and its log.`,
      },
    )
  }
  return new ClawctlError('UPSTREAM', `The Control API could not be reached: ${(error as Error).message}.`, {
    hint: `Check the network and the URL ${base}, then try again.`,
    cause: error,
  })
}
