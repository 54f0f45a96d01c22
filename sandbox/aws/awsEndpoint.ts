import type { IncomingHttpHeaders } from 'node:http'
import type { Faults } from '../faults.js'
import { type Endpoint, type EndpointOptions, type Exchange, type LoggedRequest, listen, type Reply } from '../http.js'
import { AwsError } from './error.js'

export interface AwsEndpointOptions {
  faults: Faults
  /** The one access key id that the endpoint knows. */
  accessKeyId: string
  log?: (request: LoggedRequest) => void
}

/** A service of AWS on loopback, with its own form of errors. */
export function awsEndpoint(
  { faults, log }: AwsEndpointOptions,
  api: {
    service: 'ec2' | 's3' | 'ebs'
    streams: boolean
    /** What a fault answers. */
    failures: Record<Parameters<EndpointOptions['fail']>[0], AwsError>
    answer(exchange: Exchange): Promise<Reply> | Reply
    errorReply(error: AwsError, path?: string): Reply
  },
): Promise<Endpoint> {
  return listen({
    service: api.service,
    streams: api.streams,
    faults,
    log,
    fail: (strike) => api.errorReply(api.failures[strike]),
    handle: async (exchange) => {
      try {
        return await api.answer(exchange)
      } catch (error) {
        if (error instanceof AwsError) return api.errorReply(error, exchange.url.pathname)
        throw error
      }
    },
  })
}

/**
 * Access key and region of the request's SigV4 Authorization header, or null without one. The signature is not verified,
 * and presigned URLs are not read.
 */
export function credentialOf(headers: IncomingHttpHeaders): { accessKeyId: string; region: string } | null {
  const header = headers.authorization ?? ''
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/\d{8}\/([^/]+)\/[^/]+\/aws4_request,.*\bSignature=[0-9a-f]{64}$/.exec(
      header,
    )
  return match?.[1] && match[2] ? { accessKeyId: match[1], region: match[2] } : null
}
