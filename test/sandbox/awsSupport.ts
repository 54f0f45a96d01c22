import type { EC2ClientConfig } from '@aws-sdk/client-ec2'

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'

type RetryStrategy = Extract<EC2ClientConfig['retryStrategy'], { acquireInitialRetryToken: unknown }>

/**
 * Three attempts, like the SDK's own strategy, without its pauses. `seen` collects how the SDK classified each failure,
 * from our status and XML.
 */
export function eagerRetries(seen: string[]): RetryStrategy {
  const token = (retries: number) => ({ getRetryCount: () => retries, getRetryDelay: () => 0, getRetryCost: () => 0 })
  return {
    acquireInitialRetryToken: async () => token(0),
    refreshRetryTokenForRetry: async (last, info) => {
      seen.push(info.errorType)
      if (info.errorType === 'CLIENT_ERROR' || last.getRetryCount() >= 2) throw new Error('no further retry')
      return token(last.getRetryCount() + 1)
    },
    recordSuccess: () => {},
  }
}

/** What a promise rejects with, in the terms of the SDK's errors. */
export async function failure(promise: Promise<unknown>): Promise<{ name: string; message: string; status?: number }> {
  try {
    await promise
  } catch (error) {
    const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } }
    return { name, message, status: $metadata?.httpStatusCode }
  }
  throw new Error('it did not fail')
}
