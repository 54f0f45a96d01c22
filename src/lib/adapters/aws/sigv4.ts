import { createHash, createHmac } from 'node:crypto'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface SignedScope {
  region: string
  service: string
}

/**
 * Signature Version 4 of a request whose payload's digest is known already. The SDK's signer hashes every payload once
 * more and walks a middleware stack: too much for blocks (docs/adr/0018) and for a thousand heartbeats (signedGet.ts);
 * everything else goes through the SDK. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function createSigner({ region, service }: SignedScope) {
  let known: { id: string; key: Buffer } = { id: '', key: Buffer.alloc(0) }
  const signingKey = (credentials: Credentials, day: string): Buffer => {
    const id = `${credentials.accessKeyId} ${credentials.secretAccessKey} ${day}`
    if (known.id !== id) {
      const scoped = [day, region, service, 'aws4_request']
      const start: Buffer | string = `AWS4${credentials.secretAccessKey}`
      known = { id, key: scoped.reduce<Buffer | string>((key, part) => hmac(key, part), start) as Buffer }
    }
    return known.key
  }

  /** The headers to send. `headers` must hold `host`, names in lowercase; `path` and `query` must be encoded already. */
  return (
    request: { method: string; path: string; query: string; headers: Record<string, string>; payloadSha256: string },
    credentials: Credentials,
    now: Date,
  ): Record<string, string> => {
    const time = now.toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = time.slice(0, 8)
    const headers: Record<string, string> = {
      ...request.headers,
      'x-amz-date': time,
      'x-amz-content-sha256': request.payloadSha256,
      ...(credentials.sessionToken ? { 'x-amz-security-token': credentials.sessionToken } : {}),
    }
    const names = Object.keys(headers).sort()
    const signed = names.join(';')
    const canonical = [
      request.method,
      request.path,
      request.query,
      ...names.map((name) => `${name}:${headers[name]?.trim()}`),
      '',
      signed,
      request.payloadSha256,
    ].join('\n')
    const scope = `${day}/${region}/${service}/aws4_request`
    const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`
    const signature = hmac(signingKey(credentials, day), text).toString('hex')
    const { host: _, ...sent } = headers
    return {
      ...sent,
      authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    }
  }
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
