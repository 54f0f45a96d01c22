import type { IncomingHttpHeaders } from 'node:http'

/**
 * Who signed the request and for which region, as far as the sandbox looks: the scope in its SigV4 Authorization header,
 * or null where there is no such header. The signature itself is not verified, nor are presigned URLs read.
 */
export function credentialOf(headers: IncomingHttpHeaders): { accessKeyId: string; region: string } | null {
  const header = headers.authorization ?? ''
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/\d{8}\/([^/]+)\/[^/]+\/aws4_request,.*\bSignature=[0-9a-f]{64}$/.exec(
      header,
    )
  return match?.[1] && match[2] ? { accessKeyId: match[1], region: match[2] } : null
}
