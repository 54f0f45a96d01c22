import { randomUUID } from 'node:crypto'
import type { Endpoint, Exchange, Reply } from '../http.js'
import { type AwsEndpointOptions, awsEndpoint, credentialOf } from './awsEndpoint.js'
import { EC2_ACTIONS } from './ec2Actions.js'
import { Query } from './ec2Query.js'
import { AwsError } from './error.js'
import type { World } from './world.js'
import { textXml, xmlDocument } from './xml.js'

const VERSION = '2016-11-15'
const NAMESPACE = `http://ec2.amazonaws.com/doc/${VERSION}/`

/**
 * The part of EC2's Query API that the control plane uses, on loopback. A request must be signed with SigV4 under the
 * sandbox's access key id; the signature itself is not verified. An action or a parameter that is not emulated is
 * refused, never ignored.
 */
export function ec2Endpoint(world: World, options: AwsEndpointOptions): Promise<Endpoint> {
  return awsEndpoint(options, {
    service: 'ec2',
    streams: false,
    failures: FAILURES,
    answer: (exchange) => answer(world, options, exchange),
    errorReply,
  })
}

const FAILURES = {
  throttle: new AwsError('RequestLimitExceeded', 503, 'Request limit exceeded.'),
  error: new AwsError('InternalError', 500, 'An internal error has occurred'),
  expired: new AwsError('RequestExpired', 400, 'Request has expired.'),
}

async function answer(world: World, { accessKeyId, faults }: AwsEndpointOptions, exchange: Exchange): Promise<Reply> {
  const accessKey = credentialOf(exchange.headers)?.accessKeyId ?? null
  if (accessKey !== accessKeyId) {
    const why =
      accessKey === null ? 'it carries no SigV4 Authorization header' : `it does not know the key ${accessKey}`
    const message = `AWS was not able to validate the provided access credentials: this is the sandbox, and ${why}`
    throw new AwsError('AuthFailure', 401, message)
  }
  const query = new Query(exchange.body.toString())
  const name = exchange.method === 'POST' ? (query.get('Action') ?? '') : ''
  const action = Object.hasOwn(EC2_ACTIONS, name) ? EC2_ACTIONS[name] : undefined
  if (!action || query.get('Version') !== VERSION) {
    const message = `The sandbox does not emulate the action "${name}" of this version; it has ${Object.keys(EC2_ACTIONS).join(', ')}`
    throw new AwsError('InvalidAction', 400, message)
  }
  if (query.boolean('DryRun')) {
    throw new AwsError('DryRunOperation', 412, 'Request would have succeeded, but DryRun flag is set.')
  }
  const result = await action(world, query, faults)
  return textXml(200, xmlDocument(`${name}Response`, { requestId: randomUUID(), ...result }, NAMESPACE))
}

function errorReply({ status, code, message }: AwsError): Reply {
  const body = { Errors: { Error: { Code: code, Message: message } }, RequestID: randomUUID() }
  return textXml(status, xmlDocument('Response', body))
}
