import type { IncomingHttpHeaders } from 'node:http'

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
