import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface Received {
  method: string | undefined
  url: string | undefined
  headers: IncomingMessage['headers']
  body: string
}

export type Responder = (response: ServerResponse, request: Received) => void

/** A server on loopback that answers the nth request by the nth responder, and the last one from then on. */
export async function startServer(...given: [Responder, ...Responder[]]) {
  let responders: readonly Responder[] = given
  const received: Received[] = []
  const sockets = new Set<Socket>()
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method, url, headers } = request
    received.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
    const respond = responders[Math.min(received.length, responders.length) - 1]
    respond?.(response, received.at(-1) as Received)
  })
  server.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    received,
    /** Restarts with other responders, before the first request. */
    respondWith(...others: [Responder, ...Responder[]]) {
      responders = others
    },
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
export type TestServer = Awaited<ReturnType<typeof startServer>>

export const json =
  (status: number, body: unknown): Responder =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }

export const html =
  (status: number, body = '<html>foreign-page-sentinel</html>'): Responder =>
  (response) => {
    response.writeHead(status, { 'content-type': 'text/html' }).end(body)
  }

/** Drops the connection without a word. */
export const reset: Responder = (response) => {
  ;(response.socket as Socket).resetAndDestroy()
}

/** Takes the request and never answers. */
export const silence: Responder = () => {}
