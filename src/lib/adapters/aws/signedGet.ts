import { createHash, createHmac } from 'node:crypto'
import { type HttpResponse, httpRequest } from '../httpClient.js'

/**
 * Reading a small object through the SDK costs seven times the work of the request itself (0.9 against 0.12 ms of CPU,
 * measured over a thousand heartbeats). This is the request itself: SigV4 for S3's GetObject, which signs the path as it
 * is sent. Whatever is not a plain answer is left to the SDK and its retries.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
export interface SignedGetSettings {
  region: string
  timeoutMs: number
  credentials(): Promise<{ accessKeyId: string; secretAccessKey: string; sessionToken?: string }>
}

export interface Read {
  text: string
  etag: string
}

const EMPTY = createHash('sha256').update('').digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

export class SignedGet {
  readonly #settings: SignedGetSettings
  /** What stands before the key in an object's address; as the SDK resolves it, once it has. */
  #base: string | null = null
  #key: { scope: string; secret: string; bytes: Buffer } | null = null

  constructor(settings: SignedGetSettings) {
    this.#settings = settings
  }

  /** Learns the bucket's address from a request that the SDK has built, for a key or for a list. */
  learn(request: { protocol: string; hostname: string; port?: number; path: string }, key: string | undefined): void {
    const encoded = key === undefined ? '' : encodeKey(key)
    const path = key === undefined ? request.path.replace(/\/?$/, '/') : request.path
    if (!path.endsWith(`/${encoded}`)) return
    const port = request.port === undefined ? '' : `:${request.port}`
    this.#base = `${request.protocol}//${request.hostname}${port}${path.slice(0, path.length - encoded.length)}`
  }

  /** The object, null where there is none, and undefined where the SDK has to find out. */
  async read(key: string): Promise<Read | null | undefined> {
    if (this.#base === null) return undefined
    const url = new URL(this.#base + encodeKey(key))
    let response: HttpResponse
    try {
      const headers = await this.#sign(url)
      response = await httpRequest({ method: 'GET', url: url.href, headers, timeoutMs: this.#settings.timeoutMs })
    } catch {
      return undefined
    }
    const { status, headers, body } = response
    if (status === 200 && headers.etag) return { text: body.toString(), etag: headers.etag }
    return status === 404 && body.includes('<Code>NoSuchKey</Code>') ? null : undefined
  }

  async #sign(url: URL): Promise<Record<string, string>> {
    const { accessKeyId, secretAccessKey, sessionToken } = await this.#settings.credentials()
    const now = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '')
    const scope = `${now.slice(0, 8)}/${this.#settings.region}/s3/aws4_request`
    const signed: Record<string, string> = {
      host: url.host,
      'x-amz-content-sha256': EMPTY,
      'x-amz-date': now,
      ...(sessionToken ? { 'x-amz-security-token': sessionToken } : {}),
    }
    const names = Object.keys(signed).join(';')
    const lines = Object.entries(signed).map(([name, value]) => `${name}:${value}\n`)
    const canonical = ['GET', url.pathname, '', lines.join(''), names, EMPTY].join('\n')
    const digest = createHash('sha256').update(canonical).digest('hex')
    const key = this.#signingKey(secretAccessKey, scope)
    const signature = hmac(key, ['AWS4-HMAC-SHA256', now, scope, digest].join('\n')).toString('hex')
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { ...signed, authorization }
  }

  /** The same for a day. */
  #signingKey(secret: string, scope: string): Buffer {
    if (this.#key?.scope !== scope || this.#key.secret !== secret) {
      const bytes = scope.split('/').reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secret}`)
      this.#key = { scope, secret, bytes: bytes as Buffer }
    }
    return this.#key.bytes
  }
}

/** As S3 wants it: everything but unreserved characters, slashes as they are. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/')
}
