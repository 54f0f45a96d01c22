import type { ResolvedRequest } from './signedPut.js'

interface Sent extends ResolvedRequest {
  method: string
  query?: Record<string, unknown>
  headers: Record<string, string>
}

class Caught extends Error {
  readonly request: Sent

  constructor(request: Sent) {
    super('caught')
    this.request = request
  }
}

/** Replaces the network: `requestAsSent` gets the request. */
export const catchingHandler = {
  handle: (request: unknown): Promise<never> => Promise.reject(new Caught(request as Sent)),
}

/**
 * The request that a client with `catchingHandler` would have sent: host, path and headers as the SDK resolves them from
 * region, variables, profile and addressing style. Nothing is sent.
 */
export async function requestAsSent(send: () => Promise<unknown>): Promise<Sent> {
  try {
    await send()
  } catch (error) {
    if (error instanceof Caught) return error.request
    throw error
  }
  throw new Error('the client did not use catchingHandler')
}
