import type { S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { ClawctlError } from '../../domain/errors.js'

const CONNECT_TIMEOUT_MS = 5_000
const PATIENCE = { attempts: 4, attemptMs: 20_000 }

/**
 * A peer that hangs is the usual failure outside EC2: each attempt has its time. The SDK's is the only retry layer. `stop`
 * ends what is under way, and nothing is tried again after it.
 */
export function clientLimits({ patience = PATIENCE, stop }: { patience?: typeof PATIENCE; stop?: AbortSignal }) {
  return {
    maxAttempts: patience.attempts,
    requestHandler: new Handler(
      {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        requestTimeout: patience.attemptMs,
        // Without it the handler only warns, and waits on for ever.
        throwOnRequestTimeout: true,
        // requestTimeout ends with the headers: this is for a body that no longer comes.
        socketTimeout: patience.attemptMs,
      },
      stop,
    ),
  }
}

class Handler extends NodeHttpHandler {
  readonly #stop: AbortSignal | undefined

  constructor(options: ConstructorParameters<typeof NodeHttpHandler>[0], stop: AbortSignal | undefined) {
    super(options)
    this.#stop = stop
  }

  override handle(...[request, options]: Parameters<NodeHttpHandler['handle']>) {
    return super.handle(request, this.#stop ? { ...options, abortSignal: this.#stop } : options)
  }
}

/** The body did not arrive as it was sent, or the request as it was signed in time: sent again it may. */
export const MANGLED =
  /^(?:BadDigest|InvalidDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch|IncompleteBody|RequestTimeout|ChecksumMismatch)$/

/** Has the SDK send again what arrived mangled: S3 answers 400, with which the SDK gives up. */
export function resendsMangled<T extends Pick<S3Client, 'middlewareStack'>>(client: T): T {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        throw MANGLED.test((error as Error).name) ? Object.assign(error as Error, { $retryable: {} }) : error
      }
    },
    // Around the one that reads the answer, within the retries.
    { step: 'deserialize', priority: 'high' },
  )
  return client
}

/** Without the SDK's logging, which copies every answer before it finds that nobody listens: a tenth of the time of a large one. */
export function lean<T extends { middlewareStack: { remove(name: string): boolean } }>(client: T): T {
  client.middlewareStack.remove('loggerMiddleware')
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
const THROTTLED = new Set([
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

/** Runs one SDK call and turns what it throws into a code. `what` reads like "EC2 DescribeInstances". */
export async function awsCall<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw asAwsFailure(what, error)
  }
}

/** What an SDK threw, as a code. */
export function asAwsFailure(what: string, error: unknown): ClawctlError {
  if (error instanceof ClawctlError) return error
  const { name } = error as Error
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  if (name === 'AbortError') return new ClawctlError('CANCELLED', 'It was interrupted.', { cause: error })
  // The answer to a HEAD has no body to say more.
  const unnamed = name === 'Unknown' && status !== undefined
  const told = unnamed ? `HTTP ${status}` : name
  if (name === 'CredentialsProviderError') {
    return noCredentials(error as Error)
  }
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
  if (DENIED.has(name) || status === 403) {
    return new ClawctlError('DENIED', `AWS refused ${what}: ${told}.`, {
      hint: 'Check the role and its policy; expired credentials end the same way.',
      cause: error,
    })
  }
  if (THROTTLED.has(name) || status === 429 || (unnamed && status === 503)) {
    return new ClawctlError('RATE_LIMITED', `AWS asked to slow down at ${what}, again and again (${told}).`, {
      cause: error,
    })
  }
  if (QUOTA.has(name)) {
    return new ClawctlError('DENIED', `AWS refused ${what}: a quota of the account is used up (${name}).`, {
      hint: 'Wait until what runs is over, delete what nobody needs, or have the quota raised.',
      cause: error,
    })
  }
  // The service's own words are for the terminal alone: the Control API passes messages on to whoever asked.
  if (unnamed) return new ClawctlError('UPSTREAM', `${what} failed (${told}).`, { cause: error })
  const { message, code = name } = error as NodeJS.ErrnoException
  return new ClawctlError('UPSTREAM', `${what} failed (${code}).`, { cause: error, details: message ? [message] : [] })
}

/** A session that is over, a profile with a typo and no credentials at all are different things: the SDK says which. */
function noCredentials(error: Error): ClawctlError {
  const words = error.message.replace(/\s+/g, ' ').trim()
  const login = /aws sso login(?: --[\w-]+ [\w.@-]+)*/.exec(words)?.[0]
  const none = words === '' || /Could not load credentials from any providers/i.test(words)
  return new ClawctlError('NOT_CONFIGURED', none ? 'There are no AWS credentials.' : `AWS credentials: ${words}`, {
    hint: login
      ? `Run: ${login}`
      : 'In CI, let the workflow assume its role; elsewhere set AWS_PROFILE or the AWS_* variables, and check the profile.',
    cause: error,
  })
}
