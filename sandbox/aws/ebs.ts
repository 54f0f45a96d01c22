import { randomUUID } from 'node:crypto'
import type { Faults } from '../faults.js'
import type { Endpoint, Exchange, Reply } from '../http.js'
import { type AwsEndpointOptions, awsEndpoint, credentialOf } from './awsEndpoint.js'
import { completeSnapshot, getBlock, listBlocks, listChangedBlocks, putBlock, startSnapshot } from './ebsActions.js'
import { AwsError } from './error.js'
import type { World } from './world.js'

/** The input of an action. */
export interface EbsRequest {
  exchange: Exchange
  faults: Faults
  snapshotId: string
  blockIndex: string
}

interface Route {
  method: string
  path: RegExp
  run(world: World, request: EbsRequest): Promise<Reply> | Reply
}

const ROUTES: readonly Route[] = [
  { method: 'PUT', path: /^\/snapshots\/(?<id>[^/]+)\/blocks\/(?<block>[^/]+)$/, run: putBlock },
  { method: 'POST', path: /^\/snapshots$/, run: startSnapshot },
  { method: 'POST', path: /^\/snapshots\/completion\/(?<id>[^/]+)$/, run: completeSnapshot },
  { method: 'GET', path: /^\/snapshots\/(?<id>[^/]+)\/blocks\/(?<block>[^/]+)$/, run: getBlock },
  { method: 'GET', path: /^\/snapshots\/(?<id>[^/]+)\/blocks$/, run: listBlocks },
  { method: 'GET', path: /^\/snapshots\/(?<id>[^/]+)\/changedblocks$/, run: listChangedBlocks },
]

/**
 * The EBS direct APIs on loopback. A request must be signed with SigV4 under the sandbox's access key id; the signature
 * itself is not verified.
 */
export function ebsEndpoint(world: World, options: AwsEndpointOptions): Promise<Endpoint> {
  return awsEndpoint(options, {
    service: 'ebs',
    streams: true,
    failures: FAILURES,
    answer: async (exchange) => {
      const reply = await answer(world, options, exchange)
      return { ...reply, headers: { 'x-amzn-requestid': randomUUID(), ...reply.headers } }
    },
    errorReply,
  })
}

const FAILURES = {
  throttle: new AwsError('ThrottlingException', 400, 'Rate exceeded'),
  error: new AwsError('InternalServerException', 500, 'An internal error has occurred.'),
  expired: new AwsError('ExpiredTokenException', 403, 'The security token included in the request is expired'),
}

function answer(world: World, { accessKeyId, faults }: AwsEndpointOptions, exchange: Exchange): Promise<Reply> | Reply {
  const credential = credentialOf(exchange.headers)
  if (credential === null) {
    throw new AwsError('MissingAuthenticationTokenException', 403, 'Missing Authentication Token')
  }
  if (credential.accessKeyId !== accessKeyId) {
    const message = `The security token included in the request is invalid: the sandbox does not know ${credential.accessKeyId}`
    throw new AwsError('UnrecognizedClientException', 403, message)
  }
  for (const { method, path, run } of ROUTES) {
    const match = method === exchange.method ? path.exec(exchange.url.pathname) : null
    const { id = '', block = '' } = match?.groups ?? {}
    if (match) return run(world, { exchange, faults, snapshotId: id, blockIndex: block })
  }
  const message = `The sandbox does not emulate ${exchange.method} ${exchange.url.pathname}`
  throw new AwsError('UnknownOperationException', 404, message)
}

function errorReply({ code, status, message, reason }: AwsError): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json', 'x-amzn-requestid': randomUUID(), 'x-amzn-errortype': code },
    body: JSON.stringify({ __type: code, Message: message, ...(reason === null ? {} : { Reason: reason }) }),
  }
}
