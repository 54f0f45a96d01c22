import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseFault } from '../src/lib/domain/sandboxOptions.js'
import type { Faults } from './faults.js'
import type { LoggedRequest } from './http.js'

export interface AdminServer {
  url: string
  token: string
  close(): Promise<void>
}

const orderSchema = z.object({ faults: z.array(z.string()) })

/** Endpoint for commands that join a running sandbox: adds their faults while their connection is open, and ends it. */
export async function startAdmin(options: {
  faults: Faults
  requests: LoggedRequest[]
  /** Ends the sandbox; null if it ends with its command. */
  onStop: (() => void) | null
}): Promise<AdminServer> {
  const token = randomBytes(24).toString('base64url')
  const server = createServer(async (request, response) => {
    const given = Buffer.from(request.headers.authorization ?? '')
    const wanted = Buffer.from(`Bearer ${token}`)
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      response.writeHead(401).end()
      return
    }
    if (request.method === 'GET') {
      response.end(JSON.stringify(options.requests))
      return
    }
    if (request.method === 'DELETE') {
      response.writeHead(options.onStop ? 202 : 409).end()
      options.onStop?.()
      return
    }
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const { faults } = orderSchema.parse(JSON.parse(Buffer.concat(chunks).toString()))
      const removers = faults.map((text) => options.faults.add(parseFault(text)))
      response.on('close', () => {
        for (const remove of removers) remove()
      })
      response.writeHead(200)
      response.flushHeaders()
    } catch (error) {
      response.writeHead(400).end(error instanceof ClawctlError ? error.message : 'bad request')
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
