import { ClawctlError, errorBody, httpStatusOf } from '../src/lib/domain/errors.js'
import type { Clock } from '../src/lib/ops/ports.js'
import { Authenticator } from './authenticate.js'
import { causeOf } from './cause.js'
import { type Configuration, type Env, readConfiguration } from './configuration.js'
import { createPorts, type LambdaPorts } from './context.js'
import { parseEvent } from './event.js'
import { Meter } from './meter.js'
import { page } from './page.js'
import { Recent, recentPorts } from './recent.js'
import { Secrets } from './redaction.js'
import { findRoute, MethodNotAllowed, runRoute } from './router.js'
import type { RoutePorts, Subject } from './routes.js'

export interface FunctionUrlResult {
  statusCode: number
  headers: Record<string, string>
  body: string
}

export interface HandlerOptions {
  /** How long a request may take before it is answered with TIMED_OUT. Lambda itself cuts at 30 s. */
  budgetMs?: number
  makePorts?: typeof createPorts
  clock?: Clock
}

const BUDGET_MS = 28_000
/** In the log; what is longer than any id says nothing more. */
const LONGEST_LOGGED = 64

/**
 * The Control API: a Function URL event (payload 2.0) in, a JSON answer of the contract out, one log line a request.
 * Never throws, whatever the event is.
 */
export function createHandler(
  env: Env,
  log: (line: string) => void,
  { budgetMs = BUDGET_MS, clock, makePorts = createPorts }: HandlerOptions = {},
): (event: unknown) => Promise<FunctionUrlResult> {
  const authenticator = new Authenticator(env)
  const secrets = new Secrets(env, (text) => authenticator.isOwnToken(text))
  const plane = new Plane(env, (configuration) => makePorts(configuration, clock))

  return async (event) => {
    const started = performance.now()
    const request = parseEvent(event)
    if (request.path === '/' && request.method === 'GET') return { statusCode: 200, ...page }
    const headers: Record<string, string> = { 'content-type': 'application/json', 'cache-control': 'no-store' }
    const meter = new Meter()
    let subject: Subject = {}
    let token = ''
    let route: string | null = null
    let status: number
    let body: object
    let cause: string | undefined
    try {
      const { token: presented, ...bearer } = authenticator.identify(request.header('authorization'))
      token = presented
      subject = { caller: bearer.caller }
      const found = findRoute(request)
      route = found.route.name
      const asked = {
        bearer,
        tell: (more: Subject) => {
          subject = { ...subject, ...more }
        },
        isSecret: (data: unknown) => secrets.isIn(data, presented),
      }
      body = await within(budgetMs, runRoute(found, request, asked, plane.ports(meter)))
      status = found.route.answer.status
    } catch (error) {
      // The message of something that is not ours could quote anything, so it stays out of answer and log alike.
      const failure = error instanceof ClawctlError ? error : defect(error)
      cause = causeOf(failure)
      status = httpStatusOf(failure.code)
      body = { ok: false, error: errorBody(failure), ...(subject.requestId ? { requestId: subject.requestId } : {}) }
      if (failure.retryAfterS) headers['retry-after'] = String(failure.retryAfterS)
      if (failure instanceof MethodNotAllowed) headers.allow = failure.allow
      if (failure.code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer'
    }
    const line = {
      awsRequestId: request.awsRequestId,
      ...cut(subject),
      route,
      method: request.method,
      status,
      code: (body as { error?: { code: string } }).error?.code ?? 'OK',
      cause,
      durationMs: Math.round(performance.now() - started),
      upstream: meter.upstream,
    }
    log(secrets.redact(JSON.stringify(line), token))
    return { statusCode: status, headers, body: secrets.redact(JSON.stringify(body), token) }
  }
}

/** What lives as long as the execution environment: adapters with their sockets, and what was learnt a moment ago. */
class Plane {
  readonly #env: Env
  readonly #makePorts: (configuration: Configuration) => LambdaPorts
  #made: { ports: LambdaPorts; recent: Recent } | undefined

  constructor(env: Env, makePorts: (configuration: Configuration) => LambdaPorts) {
    this.#env = env
    this.#makePorts = makePorts
  }

  /** @throws ClawctlError NOT_CONFIGURED, from the ports that it returns */
  ports(meter: Meter): RoutePorts {
    const made = () => {
      if (!this.#made) {
        const configuration = readConfiguration(this.#env)
        const ports = this.#makePorts(configuration)
        this.#made = { ports, recent: new Recent(ports.clock, Number(configuration.CONTROL_API_REUSE_MS)) }
      }
      return this.#made
    }
    const now = () => watched(made().ports, meter)
    return {
      now,
      recent: () => recentPorts(now(), made().recent),
      forget: () => made().recent.clear(),
    }
  }
}

function watched(ports: LambdaPorts, meter: Meter): LambdaPorts {
  return {
    ...ports,
    compute: meter.watch('ec2', ports.compute),
    store: ports.store && meter.watch('s3', ports.store),
    runs: meter.watch('github', ports.runs),
    registry: meter.watch('github', ports.registry),
    github: meter.watch('github', ports.github),
  }
}

function defect(cause: unknown): ClawctlError {
  return new ClawctlError('INTERNAL', 'The Control API has a defect.', { cause })
}

/** @throws ClawctlError TIMED_OUT; what was begun goes on, and the same request id finds it */
async function within<T>(budgetMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new ClawctlError('TIMED_OUT', 'GitHub and AWS took too long to answer.', {
            hint: 'Ask again in a minute; a deploy is safe to ask again with the same request id.',
          }),
        ),
      budgetMs,
    )
  })
  try {
    return await Promise.race([work, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

function cut(subject: Subject): Subject {
  return Object.fromEntries(
    Object.entries(subject).map(([name, text]) => [
      name,
      typeof text === 'string' ? text.slice(0, LONGEST_LOGGED) : text,
    ]),
  )
}
