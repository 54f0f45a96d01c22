import type { Agent } from 'node:http'
import { CONNECT_TIMEOUT_MS, createAgent, httpModuleOf, proxyFor } from './httpAgents.js'

/**
 * One HTTP exchange through node:http(s). Global fetch would cost some 150 ms of start-up on Node 20 (undici's wasm),
 * which is more than the rest of `clawctl fleet status` together.
 */
export interface HttpRequest {
  method: string
  url: string
  headers?: Record<string, string>
  body?: string
  /** For the whole exchange, the body included. */
  timeoutMs: number
  /** Aborts it. */
  signal?: AbortSignal | undefined
}

export interface HttpResponse {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** The connection failed, was dropped, or took too long. Never carries a header or a body. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  /** False only if nothing can have reached the server. */
  readonly sent: boolean

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause })
    this.sent = sent
  }
}

/** Far above any answer of the Control API or GitHub. */
const MAX_BODY_BYTES = 8 * 1024 * 1024

/** Longer than the pause between two polls of a deploy; shorter than the idle limits of servers and proxies. */
const IDLE_MS = 8_000

const agents = new Map<string, Promise<Agent>>()

/**
 * Reads share connections: over TLS a new one costs two more round trips and some kilobytes, noticeable on
 * a slow link. Anything else gets its own, so that `sent` is known.
 */
function agentOf(url: URL, proxy: URL | null, keepAlive: boolean): Promise<Agent> {
  const key = `${url.protocol} ${proxy?.href ?? ''} ${keepAlive}`
  let agent = agents.get(key)
  if (!agent) {
    agent = createAgent(url, proxy, keepAlive ? { keepAlive, timeout: IDLE_MS } : {})
    agents.set(key, agent)
  }
  return agent
}

/**
 * @throws HttpFailure
 * @throws ClawctlError NOT_CONFIGURED if the environment names an invalid proxy
 */
export async function httpRequest(options: HttpRequest): Promise<HttpResponse> {
  const url = new URL(options.url)
  const started = performance.now()
  const proxy = await proxyFor(url)
  const target = { url, place: proxy ? `${url.host} through the proxy ${proxy.host}` : url.host }
  try {
    return await exchange(target, options, options.timeoutMs, await agentOf(url, proxy, options.method === 'GET'))
  } catch (error) {
    if (!(error instanceof ClosedMeanwhile)) throw error
    // Not a retry: the server had closed the kept connection before it read the request.
    const left = options.timeoutMs - (performance.now() - started)
    return exchange(target, options, left, await agentOf(url, proxy, false))
  }
}

/** A kept connection that the server closed before its answer began. */
class ClosedMeanwhile extends HttpFailure {}

interface Target {
  url: URL
  /** For messages: the host, and the proxy's if there is one. */
  place: string
}

function exchange(target: Target, options: HttpRequest, timeoutMs: number, agent: Agent): Promise<HttpResponse> {
  const { url, place } = target
  return new Promise((resolve, reject) => {
    let sent = false
    const end = () => {
      clearTimeout(timer)
      clearTimeout(connectTimer)
      options.signal?.removeEventListener('abort', stop)
    }
    const fail = (message: string, cause?: unknown, Failure = HttpFailure) => {
      end()
      request.destroy()
      reject(new Failure(message, sent, cause))
    }
    const stop = () => fail(`the request to ${url.host} was interrupted`)
    const headers = { ...options.headers }
    if (options.body !== undefined) headers['content-length'] = String(Buffer.byteLength(options.body))
    const request = httpModuleOf(url).request(url, { method: options.method, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > MAX_BODY_BYTES) fail(`${url.host} answered with more than ${MAX_BODY_BYTES} bytes`)
      })
      response.on('end', () => {
        end()
        const headers = Object.fromEntries(Object.entries(response.headers).map(([k, v]) => [k, String(v)]))
        resolve({ status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks) })
      })
      response.on('error', (error) => fail(`${url.host} ended its answer early (${describe(error)})`, error))
      response.on('aborted', () => fail(`${url.host} ended its answer early`))
    })
    const timer = setTimeout(
      () => fail(`${url.host} did not answer within ${options.timeoutMs / 1000} s`),
      Math.max(0, timeoutMs),
    )
    const connectTimer = setTimeout(
      () => fail(`${place} could not be reached within ${CONNECT_TIMEOUT_MS / 1000} s`),
      CONNECT_TIMEOUT_MS,
    )
    const connected = () => {
      clearTimeout(connectTimer)
      sent = true
    }
    request.on('socket', (socket) => {
      const secure = url.protocol === 'https:'
      // A kept connection, or one through a proxy, is connected already, and would never call back.
      if (request.reusedSocket || !(secure || socket.connecting)) connected()
      else socket.once(secure ? 'secureConnect' : 'connect', connected)
    })
    request.on('error', (error) => {
      const closed =
        request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')
      fail(`${place} could not be reached (${describe(error)})`, error, closed ? ClosedMeanwhile : HttpFailure)
    })
    options.signal?.addEventListener('abort', stop)
    if (options.signal?.aborted) stop()
    else request.end(options.body)
  })
}

function describe(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}
