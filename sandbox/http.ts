import { channel } from 'node:diagnostics_channel'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { AnyService, Faults, HttpStrike } from './faults.js'

export interface Exchange {
  method: string
  /** Path and query, with the endpoint's own host. */
  url: URL
  headers: IncomingHttpHeaders
  /** All values of every header: Node keeps only the first value of some repeated headers. */
  headersDistinct?: IncomingMessage['headersDistinct']
  /** Empty if the endpoint reads `stream` itself. */
  body: Buffer
  stream: AsyncIterable<Buffer>
}

export interface Reply {
  status: number
  headers?: Record<string, string>
  /** For a stream, the headers have the length. */
  body?: string | Buffer | AsyncIterable<Buffer>
}

/** One entry of the request log, for tests that count calls. */
export interface LoggedRequest {
  service: AnyService
  method: string
  path: string
  status: number | 'reset' | 'hang'
}

/** A service's answer, and whether a fault replaced it. */
export interface Answered {
  service: AnyService
  exchange: Exchange
  reply: Reply
  struck: boolean
}

/** Publishes every answer: tests compare them with the services' own descriptions. */
export const answered = channel('clawctl:sandbox:answered')

export interface Endpoint {
  url: string
  close(): Promise<void>
}

export interface EndpointOptions {
  service: AnyService
  handle(exchange: Exchange): Promise<Reply> | Reply
  /** The service's own answer for throttling or an internal error. */
  fail(strike: Exclude<HttpStrike, 'reset' | 'hang'>): Reply
  faults: Faults
  /** The handler reads the body as a stream, for services with large bodies. */
  streams?: boolean
  log?: (request: LoggedRequest) => void
}

/** Starts one service on loopback. Faults strike before the service sees the request. */
export async function listen(options: EndpointOptions): Promise<Endpoint> {
  const { service, faults } = options
  const sockets = new Set<Socket>()
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = options.streams ? NO_BODY : await readAll(request)
    if (!body) return // the client went away
    // Not resolved against a base URL, because `//` would become another host.
    const target = `http://127.0.0.1${request.url ?? '/'}`
    if (!URL.canParse(target)) {
      response.writeHead(400).end()
      return
    }
    const url = new URL(target)
    const method = request.method ?? 'GET'
    const log = (status: LoggedRequest['status']) =>
      options.log?.({ service, method, path: url.pathname + url.search, status })
    if (faults.held) {
      await faults.held
      // After a turn of the event loop the end of a dead client's connection is known.
      await nextTurn()
      if (request.socket.destroyed || request.socket.readableEnded) return
    }
    const delay = faults.delayMs(service)
    if (delay > 0) await sleep(delay)
    const strike = faults.strike(service)
    if (strike === 'reset') {
      log('reset')
      request.socket.resetAndDestroy()
      return
    }
    if (strike === 'hang') {
      log('hang')
      request.resume()
      return
    }
    const { headers, headersDistinct } = request
    // A handler that stops reading early must not close the connection.
    const stream = request.iterator({ destroyOnReturn: false })
    const exchange: Exchange = { method, url, headers, headersDistinct, body, stream }
    let reply: Reply
    try {
      reply = strike ? options.fail(strike) : await options.handle(exchange)
    } catch (error) {
      if (request.errored) return // the client went away
      reply = { status: 500, body: `sandbox defect in ${service}: ${(error as Error).stack}` }
    }
    // The service or the client has ended, so this answer reaches no client, and its failure is not a defect.
    if (!request.socket.destroyed) {
      answered.publish({ service, exchange, reply, struck: strike !== null } satisfies Answered)
    }
    // The unread body is drained, because a client that is still sending would never read the answer.
    if (!request.readableEnded && !(await drain(request))) return
    log(reply.status)
    await send(reply, method, response)
  }
  const server = createServer((request, response) => {
    // A malformed request ends its connection, never the sandbox.
    serve(request, response).catch(() => request.socket.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

const NO_BODY = Buffer.alloc(0)

/** Null if the client went away. */
async function readAll(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    return null
  }
  return Buffer.concat(chunks)
}

/** False if the client went away. */
function drain(request: IncomingMessage): Promise<boolean> {
  return new Promise((resolve) => {
    if (request.destroyed) resolve(false)
    request.once('end', () => resolve(true))
    request.once('close', () => resolve(request.complete))
    request.resume()
  })
}

async function send({ status, headers, body = '' }: Reply, method: string, response: ServerResponse): Promise<void> {
  const whole = typeof body === 'string' || Buffer.isBuffer(body)
  response.writeHead(status, { ...(whole ? { 'content-length': String(Buffer.byteLength(body)) } : {}), ...headers })
  if (method === 'HEAD') response.end()
  else if (whole) response.end(body)
  else await pipeline(Readable.from(body, { objectMode: false }), response)
}
