import { NodeHttpHandler } from '@smithy/node-http-handler'
import { ClawctlError } from '../../domain/errors.js'

const CONNECT_TIMEOUT_MS = 5_000
const PATIENCE = { attempts: 4, attemptMs: 20_000 }

/** A peer that hangs is the usual failure outside EC2: each attempt has its time. The SDK's is the only retry layer. */
export function clientLimits({ patience = PATIENCE }: { patience?: typeof PATIENCE }) {
  return {
    maxAttempts: patience.attempts,
    requestHandler: new NodeHttpHandler({ connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: patience.attemptMs }),
  }
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
  // The answer to a HEAD has no body to say more.
  const unnamed = name === 'Unknown' && status !== undefined
  const told = unnamed ? `HTTP ${status}` : name
  if (name === 'CredentialsProviderError') {
    return new ClawctlError('NOT_CONFIGURED', 'There are no AWS credentials.', {
      hint: 'In CI, let the workflow assume its role; elsewhere set AWS_PROFILE or the AWS_* variables.',
      cause: error,
    })
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
