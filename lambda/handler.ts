import { asClawctlError, ClawctlError, type Code, errorBody, httpStatusOf } from '../src/lib/domain/errors.js'
import type { Clock } from '../src/lib/ops/ports.js'
import { AnswerCache, cachedPorts } from './answerCache.js'
import { Authenticator } from './authenticate.js'
import { Budget, systemTiming, type Timing } from './budget.js'
import { type Configuration, type Env, readConfiguration } from './configuration.js'
import { createPorts, type LambdaPorts, systemClock } from './context.js'
import { parseEvent } from './event.js'
import { Meter } from './meter.js'
import { embedded, type Measure, metricLines } from './metrics.js'
import { page } from './page.js'
import { Secrets } from './redaction.js'
import { findRoute, MethodNotAllowed, runRoute } from './router.js'
import type { RoutePorts, Subject } from './routes.js'
import type { SecretsState } from './storedSecrets.js'
import { isWatch, watch } from './watch.js'

export interface FunctionUrlResult {
  statusCode: number
  headers: Record<string, string>
  body: string
}

export interface HandlerOptions {
  /** After this time a request is answered with TIMED_OUT. Lambda itself ends it at 30 s. */
  budgetMs?: number
  makePorts?: typeof createPorts
  clock?: Clock
  timing?: Timing
  /** Receives the lines that are metrics. */
  emit?: (line: string) => void
}

/** State from before the handler: the time that is left, and which secrets are in use. */
export interface Arrival {
  budget?: Budget
  secrets?: SecretsState | null
}
export type Handle = (event: unknown, arrival?: Arrival) => Promise<FunctionUrlResult>

/** Limits of the log line. */
const MAX_LOGGED = 64
const MAX_PATH = 128
const MAX_CAUSE = 120
const MAX_SEGMENTS = 8
/** Limits of GitHub, AWS and our own end within a minute. */
const RETRY_AFTER_SECONDS = 60

/**
 * The Control API: a Function URL event (payload 2.0) in, a JSON answer of the contract out, one log line a request.
 * Never throws.
 */
export function createHandler(env: Env, log: (line: string) => void, options: HandlerOptions = {}): Handle {
  const { budgetMs, clock = systemClock(), makePorts = createPorts, timing = systemTiming, emit = () => {} } = options
  const authenticator = new Authenticator(env)
  const secrets = new Secrets(env, (text) => authenticator.isOwnToken(text))
  const shared = new SharedPorts(env, (configuration) => makePorts(configuration, clock))

  return async (event, { budget = new Budget(timing, budgetMs), secrets: stored = null } = {}) => {
    if (isWatch(event)) return runWatch(budget, stored)
    const started = performance.now()
    const request = parseEvent(event)
    if (request.path === '/' && request.method === 'GET') return { statusCode: 200, ...page }
    const headers: Record<string, string> = { 'content-type': 'application/json', 'cache-control': 'no-store' }
    const meter = new Meter(budget)
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
        logSubject: (more: Subject) => {
          subject = { ...subject, ...more }
        },
        isSecret: (data: unknown) => secrets.isIn(data, presented),
      }
      body = await budget.within(runRoute(found, request, asked, shared.ports(meter, budget, stored)))
      status = found.route.answer.status
    } catch (error) {
      // The message of another error could quote anything, so it goes neither into the answer nor into the log.
      const failure = error instanceof ClawctlError ? error : defect(error)
      cause = causeOf(failure)
      status = httpStatusOf(failure.code)
      body = { ok: false, error: errorBody(failure), ...(subject.requestId ? { requestId: subject.requestId } : {}) }
      if (failure instanceof MethodNotAllowed) headers.allow = failure.allow
      if (failure.code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer'
      if (status === 429) headers['retry-after'] = String(failure.retryAfterS ?? RETRY_AFTER_SECONDS)
    }
    const code = (body as { error?: { code: Code } }).error?.code ?? 'OK'
    const measures: Measure[] = [{ metric: 'Requests', value: 1 }]
    if (code !== 'OK') measures.push({ metric: 'Refusals', value: 1, of: code })
    if (isDispatchFailure(route, status, code, meter)) measures.push({ metric: 'DispatchFailures', value: 1 })
    if (stored) measures.push({ metric: 'SecretsAgeSeconds', value: secondsSince(stored.readAt) })
    const line = {
      awsRequestId: request.awsRequestId,
      ...cut(subject),
      route,
      method: request.method,
      path: pathOf(request.path),
      sourceIp: request.sourceIp,
      status,
      code,
      cause,
      durationMs: Math.round(performance.now() - started),
      upstream: meter.upstream,
    }
    log(secrets.redact(JSON.stringify(line), token))
    const now = clock.now().getTime()
    emit(JSON.stringify(embedded(measures, now)))
    for (const line of metricLines(failuresOf(meter), now)) emit(line)
    return { statusCode: status, headers, body: secrets.redact(JSON.stringify(body), token) }
  }

  /** The rule of the platform stack calls it every five minutes. */
  async function runWatch(budget: Budget, stored: SecretsState | null): Promise<FunctionUrlResult> {
    const meter = new Meter(budget)
    const now = clock.now().getTime()
    const { measures, ...seen } = await budget
      .within(watch(shared.ports(meter, budget, stored).current))
      .catch((failure: unknown) => ({ measures: [] as Measure[], failure }))
    const failure = seen.failure === null ? null : asClawctlError(seen.failure)
    log(JSON.stringify({ watch: failure?.code ?? 'OK', cause: failure && causeOf(failure), upstream: meter.upstream }))
    if (stored) measures.push({ metric: 'SecretsAgeSeconds', value: secondsSince(stored.readAt) })
    for (const line of metricLines([...measures, ...failuresOf(meter)], now)) emit(line)
    return { statusCode: failure ? httpStatusOf(failure.code) : 200, headers: {}, body: '' }
  }

  /** A path that is encoded or contains a token is not logged. */
  function pathOf(path: string): string {
    const hidden = path.includes('%') || secrets.isIn(path.split('/', MAX_SEGMENTS), '')
    return hidden ? '[not logged]' : path.slice(0, MAX_PATH)
  }

  function secondsSince(moment: number): number {
    return Math.max(0, Math.round((clock.now().getTime() - moment) / 1000))
  }
}

const failuresOf = (meter: Meter): Measure[] =>
  [...meter.failures].map(([of, value]) => ({ metric: 'UpstreamFailures', value, of }))

/** True if a valid request for a deploy did not start a run. */
function isDispatchFailure(route: string | null, status: number, code: Code | 'OK', meter: Meter): boolean {
  if (route !== 'createDeploy') return false
  return status >= 500 || (code === 'RATE_LIMITED' && meter.failures.size > 0)
}

/** Adapters with their sockets, and the cache; they live as long as the execution environment. */
class SharedPorts {
  readonly #env: Env
  readonly #makePorts: (configuration: Configuration) => LambdaPorts
  #made: { ports: LambdaPorts; cache: AnswerCache } | undefined

  constructor(env: Env, makePorts: (configuration: Configuration) => LambdaPorts) {
    this.#env = env
    this.#makePorts = makePorts
  }

  /** @throws ClawctlError NOT_CONFIGURED, from the ports that it returns */
  ports(meter: Meter, budget: Budget, secrets: SecretsState | null): RoutePorts {
    const made = () => {
      if (!this.#made) {
        const configuration = readConfiguration(this.#env)
        const ports = this.#makePorts(configuration)
        this.#made = { ports, cache: new AnswerCache(ports.clock, Number(configuration.CONTROL_API_REUSE_MS)) }
      }
      return this.#made
    }
    const current = () => ({ ...meteredPorts(made().ports, meter), secrets })
    return {
      current,
      cached: () => cachedPorts(current(), made().cache),
      clearCache: () => made().cache.clear(),
      budget,
    }
  }
}

function meteredPorts(ports: LambdaPorts, meter: Meter): LambdaPorts {
  return {
    ...ports,
    compute: meter.measure('ec2', ports.compute),
    store: ports.store && meter.measure('s3', ports.store),
    runs: meter.measure('github', ports.runs),
    registry: meter.measure('github', ports.registry),
    github: meter.measure('github', ports.github),
  }
}

function defect(cause: unknown): ClawctlError {
  return new ClawctlError('INTERNAL', 'The Control API has a defect.', { cause })
}

function cut(subject: Subject): Subject {
  return Object.fromEntries(
    Object.entries(subject).map(([name, text]) => [name, typeof text === 'string' ? text.slice(0, MAX_LOGGED) : text]),
  )
}

/**
 * The cause of a failure for the log: the error's name with its status or system code. Its message is left out, because
 * it may quote a request or an answer.
 */
function causeOf(failure: ClawctlError): string | undefined {
  const { cause } = failure
  if (!(cause instanceof Error)) return undefined
  const { status, code } = cause as { status?: unknown; code?: unknown }
  const detail =
    typeof status === 'number' || typeof status === 'string' ? status : typeof code === 'string' ? code : ''
  const where = failure.code === 'INTERNAL' ? placeOf(cause) : ''
  return `${cause.name} ${detail} ${where}`
    .replace(/[^\w .:/@()-]+/g, '')
    .replace(/ +/g, ' ')
    .trim()
    .slice(0, MAX_CAUSE)
}

/** The innermost frame of the stack, without any text of the message. */
function placeOf(error: Error): string {
  return /^ {4}at (.+)$/m.exec((error.stack ?? '').replace(error.message, ''))?.[1] ?? ''
}
