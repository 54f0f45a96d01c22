import type { Agent, ClientRequest, IncomingMessage } from 'node:http'
import { HttpRequest } from '@smithy/core/protocols'
import { Hash } from '@smithy/core/serde'
import { SignatureV4 } from '@smithy/signature-v4'
import type { AwsCredentialIdentity, Provider, SourceData } from '@smithy/types'
import { skewOf } from '../clock.js'
import { createAgent, httpModuleOf, proxyFor } from '../httpAgents.js'
import { SKEW_MS } from './errors.js'

/** A service's endpoint, as the SDK resolved it for one request. */
export interface ResolvedRequest {
  protocol: string
  hostname: string
  port?: number
  path: string
}

export interface PutRequest {
  path: string
  query: string
  headers: Record<string, string>
  /** Lowercase hexadecimal. */
  payloadSha256: string
  bytes: number
  body: Uint8Array | AsyncIterable<Uint8Array>
  timeoutMs: number
}

export interface PutAnswer {
  status: number
  headers: Record<string, string>
  text: string
  /** Refused because of this machine's clock. The next attempt is signed with the service's time. */
  clockCorrected?: boolean
}

/** The limit of an answer: a PUT answers with headers or a short error. */
const MAX_ANSWER_BYTES = 64 * 1024

export interface SigningScope {
  region: string
  /** Service name in the signature: `s3`, `ebs`. */
  service: string
  credentials: Provider<AwsCredentialIdentity>
}

export interface TransferLimits {
  /** The most requests in flight. */
  connections: number
  /** Aborts them. */
  stop: AbortSignal
}

class Sha256 extends Hash {
  constructor(secret?: SourceData) {
    super('sha256', secret)
  }
}

/** Signs a PUT whose payload's digest is known: the payload is not hashed again. `headers` must hold `host`. */
export function createSigner({ region, service, credentials }: SigningScope) {
  // For S3, the path is signed unescaped, as it is sent.
  const uriEscapePath = service !== 's3'
  const signer = new SignatureV4({ region, service, credentials, sha256: Sha256, uriEscapePath })
  return async (
    { path, query, headers, payloadSha256 }: Pick<PutRequest, 'path' | 'query' | 'headers' | 'payloadSha256'>,
    signingDate: Date,
  ): Promise<Record<string, string>> => {
    const unsigned = new HttpRequest({
      method: 'PUT',
      path,
      query: Object.fromEntries(new URLSearchParams(query)),
      headers: { ...headers, 'x-amz-content-sha256': payloadSha256 },
    })
    return (await signer.sign(unsigned, { signingDate })).headers
  }
}

/**
 * PUTs large bodies over connections that stay open, each tried once: the caller has the retry layer. Rejects if
 * the connection fails, when `timeoutMs` (for the whole exchange) is over, or when `stop` is aborted. If the clocks
 * differ, later requests are signed with the service's time, as by the SDK.
 */
export function createSignedPut(target: ResolvedRequest, options: SigningScope & TransferLimits) {
  const sign = createSigner(options)
  const secure = target.protocol === 'https:'
  // One listener for all: with one per request, Node warns of a leak.
  const underWay = new Set<() => void>()
  const stopAll = () => {
    for (const stopOne of underWay) stopOne()
  }
  options.stop.addEventListener('abort', stopAll)
  const usual = target.port === undefined || target.port === (secure ? 443 : 80)
  const host = usual ? target.hostname : `${target.hostname}:${target.port}`
  const url = new URL(`${target.protocol}//${host}`)
  let agent: Promise<Agent> | undefined
  const openAgent = async () =>
    createAgent(url, await proxyFor(url), { keepAlive: true, maxSockets: options.connections, scheduling: 'lifo' })
  let skewMs = 0

  return async (put: PutRequest): Promise<PutAnswer> => {
    options.stop.throwIfAborted()
    const signedBy = skewMs
    const plain = { ...put.headers, host, 'content-length': String(put.bytes) }
    const headers = await sign({ ...put, headers: plain }, new Date(Date.now() + signedBy))
    agent ??= openAgent()
    const answer = await exchange(put, headers, await agent)
    if (answer.status !== 400 && answer.status !== 403) return answer
    const seenMs = skewOf(answer.headers.date)
    if (seenMs !== null && Math.abs(seenMs - signedBy) >= SKEW_MS) skewMs = seenMs
    return { ...answer, clockCorrected: skewMs !== signedBy }
  }

  function exchange(put: PutRequest, headers: Record<string, string>, connections: Agent): Promise<PutAnswer> {
    return new Promise((resolve, reject) => {
      const request = httpModuleOf(url).request({
        agent: connections,
        host: target.hostname.replace(/^\[|\]$/g, ''),
        port: target.port,
        method: 'PUT',
        path: put.query ? `${put.path}?${put.query}` : put.path,
        headers: { ...headers, host },
      })
      let answered = false
      const done = (end: () => void) => {
        clearTimeout(timer)
        underWay.delete(stopped)
        end()
      }
      const fail = (error: Error) => {
        request.destroy()
        done(() => reject(error))
      }
      const stopped = () => fail(new Error('interrupted'))
      const timer = setTimeout(() => fail(new Error(`no answer within ${put.timeoutMs / 1000} s`)), put.timeoutMs)
      underWay.add(stopped)
      request.on('error', fail)
      request.on('response', (response) => {
        answered = true
        readAnswer(response).then((answer) => {
          // The rest of the body will not be written, so this connection can't be reused.
          if (!request.writableFinished) request.destroy()
          done(() => resolve(answer))
        }, fail)
      })
      // A service may refuse before it has read the body. Its answer says more than the socket's error.
      writeBody(request, put.body, () => answered).catch(fail)
    })
  }
}

async function writeBody(request: ClientRequest, body: PutRequest['body'], answered: () => boolean): Promise<void> {
  if (body instanceof Uint8Array) {
    request.end(body)
    return
  }
  for await (const chunk of body) {
    if (request.destroyed || answered()) return
    // Wait until the operating system has the chunk: its buffer is reused afterwards.
    await new Promise<void>((resolve, reject) => {
      request.write(chunk, (error) => (error ? reject(error) : resolve()))
    })
  }
  if (!request.destroyed) request.end()
}

async function readAnswer(response: IncomingMessage): Promise<PutAnswer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= MAX_ANSWER_BYTES) chunks.push(chunk)
  }
  const headers = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)]))
  return { status: response.statusCode ?? 0, headers, text: Buffer.concat(chunks).toString() }
}
