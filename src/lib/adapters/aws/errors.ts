import type { S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import ms from 'ms'
import { asFullDisk, ClawctlError } from '../../domain/errors.js'
import { skewOf } from '../clock.js'
import { ADDRESS_TIMEOUT_MS, CONNECT_TIMEOUT_MS, createAgent, proxyFor } from '../httpAgents.js'

// The SDK reads it when a client is made. Without it, on Node 20, every command prints a warning on stderr.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'

/** The SDK's own default of connections. */
const SDK_SOCKETS = 50

const RETRIES = { attempts: 4, attemptMs: 20_000 }

export interface AwsSettings {
  region: string
  /** Attempts and time limit, for a caller with little time. */
  retries?: typeof RETRIES
  /** Aborts calls in flight: they reject with CANCELLED, and are not retried. */
  stop?: AbortSignal
  /** Called with the `Date` of every answer. */
  onDate?: (date: string | undefined) => void
}

/**
 * Options of every client. A peer that hangs is the usual failure outside EC2, so each attempt has a time limit. The SDK is the
 * only retry layer.
 */
export function clientOptions({ region, retries = RETRIES, stop, onDate }: AwsSettings) {
  return { region, maxAttempts: retries.attempts, requestHandler: new Handler(retries.attemptMs, stop, onDate) }
}

/** An endpoint of its own, an emulator for example, rarely has a host name for each bucket. AWS accepts both styles. */
export const bucketStyle = () => ({
  forcePathStyle: Boolean(process.env.AWS_ENDPOINT_URL_S3 || process.env.AWS_ENDPOINT_URL),
})

type Handle = NodeHttpHandler['handle']

/** The SDK's transport with our limits and connections; one for each proxy, which depends on the host. */
class Handler extends NodeHttpHandler {
  readonly #stop: AbortSignal | undefined
  readonly #onDate: AwsSettings['onDate']
  readonly #limits: ConstructorParameters<typeof NodeHttpHandler>[0]
  readonly #proxied = new Map<string, Promise<NodeHttpHandler>>()

  constructor(attemptMs: number, stop: AbortSignal | undefined, onDate: AwsSettings['onDate']) {
    const limits = {
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, attemptMs),
      requestTimeout: attemptMs,
      // Without it, the handler only warns, and never times out.
      throwOnRequestTimeout: true,
      // requestTimeout covers only the headers; this one covers a stalled body.
      socketTimeout: attemptMs,
    }
    const agent = { autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS }
    super({ ...limits, httpAgent: agent, httpsAgent: agent })
    this.#limits = limits
    this.#stop = stop
    this.#onDate = onDate
  }

  override async handle(...given: Parameters<Handle>): ReturnType<Handle> {
    const answer = await this.#exchange(...given)
    this.#onDate?.(answer.response.headers.date)
    return answer
  }

  async #exchange(...[request, options]: Parameters<Handle>): ReturnType<Handle> {
    const stoppable = this.#stop ? { ...options, abortSignal: this.#stop } : options
    const port = request.port === undefined ? '' : `:${request.port}`
    const url = new URL(`${request.protocol}//${request.hostname}${port}`)
    const proxy = await proxyFor(url)
    if (!proxy) return super.handle(request, stoppable)
    const key = `${url.protocol} ${proxy.href}`
    const handler = this.#proxied.get(key) ?? this.#handlerFor(url, proxy)
    this.#proxied.set(key, handler)
    return (await handler).handle(request, stoppable)
  }

  async #handlerFor(url: URL, proxy: URL): Promise<NodeHttpHandler> {
    const agent = await createAgent(url, proxy, { keepAlive: true, maxSockets: SDK_SOCKETS })
    return new NodeHttpHandler({
      ...this.#limits,
      [url.protocol === 'https:' ? 'httpsAgent' : 'httpAgent']: agent,
    })
  }

  override destroy(): void {
    for (const handler of this.#proxied.values()) void handler.then((made) => made.destroy())
    super.destroy()
  }
}

/** Errors of a damaged body or a late signature, which a retry may solve. */
export const DAMAGED_BODY =
  /^(?:BadDigest|InvalidDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch|IncompleteBody|RequestTimeout|ChecksumMismatch)$/

/** Makes the SDK retry a body that arrived damaged: S3 answers 400, which the SDK does not retry. */
export function resendsMangled<T extends Pick<S3Client, 'middlewareStack'>>(client: T): T {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        throw DAMAGED_BODY.test((error as Error).name) ? Object.assign(error as Error, { $retryable: {} }) : error
      }
    },
    // Runs outside the middleware that reads the answer and inside the retries.
    { step: 'deserialize', priority: 'high' },
  )
  return client
}

const DENIED = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'AuthFailure',
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidAccessKeyId',
  'InvalidClientTokenId',
  'Forbidden',
  'RequestExpired',
  'SignatureDoesNotMatch',
  'UnauthorizedOperation',
])
/** Error names that a wrong clock may cause: S3's, EBS's and EC2's, STS's. */
const SKEWED = new Set([
  'AuthFailure',
  'InvalidSignatureException',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
])
/** Every service accepts a smaller difference (EBS and EC2: five minutes, S3: fifteen). The SDK corrects a larger one. */
export const SKEW_MS = 4 * 60_000

/** "the clock of this machine is 20 min ahead", if that is why the request was refused. */
function clockProblem(error: Error): string | null {
  if (!SKEWED.has(error.name)) return null
  const headers = (error as { $response?: { headers?: Record<string, string> } }).$response?.headers
  const skewMs = skewOf(headers?.date)
  if (skewMs === null) return error.name === 'RequestTimeTooSkewed' ? 'the clock of this machine is wrong' : null
  if (Math.abs(skewMs) < SKEW_MS) return null
  return `the clock of this machine is ${ms(Math.abs(skewMs))} ${skewMs < 0 ? 'ahead' : 'behind'}`
}

/** Error names of a service that throttles. */
export const THROTTLED = new Set([
  'EC2ThrottledException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'Throttling',
  'ThrottlingException',
  'SlowDown',
  'TooManyRequestsException',
])

const QUOTA = new Set([
  'ConcurrentLimitExceededException',
  'ConcurrentSnapshotLimitExceeded',
  'PendingSnapshotLimitExceeded',
  'ResourceCountExceeded',
  'ServiceQuotaExceededException',
  'SnapshotLimitExceeded',
])
const ELSEWHERE = new Set(['AuthorizationHeaderMalformed', 'IllegalLocationConstraintException', 'PermanentRedirect'])

/** An answer with status 200 without a part that the service always sends: from a sign-in page or a proxy, or empty. */
class ForeignAnswer extends Error {
  override readonly name = 'ForeignAnswer'
}

/** A part that every answer of this operation has, even if empty. @throws ForeignAnswer, for `awsCall` */
export function always<T>(part: T | undefined): T {
  if (part === undefined) throw new ForeignAnswer('The answer lacks a part that AWS always sends.')
  return part
}

const isForeign = (error: unknown) =>
  error instanceof ForeignAnswer || /^@aws-sdk XML parse error/.test((error as Error).message)

/** Error names of the SDK's credential providers. */
export const NO_CREDENTIALS = new Set(['CredentialsProviderError', 'TokenProviderError'])

/** Runs one SDK call and turns what it throws into a code. `what` reads like "EC2 DescribeInstances". */
export async function awsCall<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw asAwsFailure(what, error)
  }
}

/** Runs a call for which an error of one of these names is an answer, `otherwise`: often that there is none. */
export async function unlessNamed<T, U>(names: RegExp, otherwise: U, call: () => Promise<T>): Promise<T | U> {
  try {
    return await call()
  } catch (error) {
    if (names.test((error as Error).name)) return otherwise
    throw error
  }
}

export const NO_SUCH_IMAGE = /^InvalidAMIID\./
export const NO_SUCH_OBJECT = /^(?:NoSuchKey|NotFound)$/

/** An SDK error as a ClawctlError. */
export function asAwsFailure(what: string, error: unknown): ClawctlError {
  if (error instanceof ClawctlError) return error
  const full = asFullDisk(error, what)
  if (full !== null) return full
  const { name } = error as Error
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  if (name === 'AbortError') return new ClawctlError('CANCELLED', 'It was interrupted.', { cause: error })
  // The answer to a HEAD has no body with details.
  const unnamed = name === 'Unknown' && status !== undefined
  const label = unnamed ? `HTTP ${status}` : name
  if (NO_CREDENTIALS.has(name)) return noCredentials(error as Error)
  if (name === 'NoSuchBucket') {
    return new ClawctlError('NOT_CONFIGURED', `${what}: there is no such bucket.`, {
      hint: 'Check S3_BUCKET.',
      cause: error,
    })
  }
  if (ELSEWHERE.has(name) || status === 301) {
    return new ClawctlError('NOT_CONFIGURED', `${what}: the bucket is in another region.`, {
      hint: 'Set AWS_REGION to the region of S3_BUCKET.',
      cause: error,
    })
  }
  const clock = clockProblem(error as Error)
  if (clock !== null) {
    return new ClawctlError('DENIED', `AWS refused ${what}: ${clock} (${name}).`, {
      hint: 'Set the clock, for example with `timedatectl set-ntp true`, then try again.',
      cause: error,
    })
  }
  if (DENIED.has(name) || status === 403) {
    return new ClawctlError('DENIED', `AWS refused ${what}: ${label}.`, {
      hint: 'Check the role and its policy. Expired credentials cause the same error.',
      cause: error,
    })
  }
  if (THROTTLED.has(name) || status === 429 || (unnamed && status === 503)) {
    return new ClawctlError('RATE_LIMITED', `AWS still throttled ${what} after the retries (${label}).`, {
      cause: error,
    })
  }
  if (QUOTA.has(name)) {
    return new ClawctlError('DENIED', `AWS refused ${what}: a quota of the account is used up (${name}).`, {
      hint: 'Wait until other work has finished, delete unused resources, or raise the quota.',
      cause: error,
    })
  }
  if (isForeign(error)) {
    return new ClawctlError('UPSTREAM', `${what} was answered by something other than AWS.`, {
      hint: 'Check AWS_ENDPOINT_URL, and that no proxy or sign-in page is in between.',
      cause: error,
    })
  }
  // The service's own message goes only to the terminal: the Control API sends messages to its callers.
  if (unnamed) return new ClawctlError('UPSTREAM', `${what} failed (${label}).`, { cause: error })
  const { message, code = name } = error as NodeJS.ErrnoException
  return new ClawctlError('UPSTREAM', `${what} failed (${code}).`, { cause: error, details: message ? [message] : [] })
}

/** Expired session, unknown profile, or no credentials. The SDK often names no cause: then the profile is named. */
function noCredentials(error: Error): ClawctlError {
  const words = error.message.replace(/\s+/g, ' ').trim()
  const login = /aws sso login(?: --[\w-]+ [\w.@-]+)*/.exec(words)?.[0]
  const none = words === '' || /Could not load credentials from any providers/i.test(words)
  const profile = process.env.AWS_PROFILE
  const absent = profile ? `The AWS profile ${profile} gave no credentials.` : 'There are no AWS credentials.'
  const noneHint = profile
    ? `See why: aws sts get-caller-identity --profile ${profile}`
    : 'In CI, let the workflow assume its role; elsewhere set AWS_PROFILE or the AWS_* variables.'
  return new ClawctlError('NOT_CONFIGURED', none ? absent : `AWS credentials: ${words}`, {
    hint: login ? `Run: ${login}` : noneHint,
    cause: error,
  })
}
