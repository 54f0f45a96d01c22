import { randomUUID } from 'node:crypto'
import { Faults } from '../faults.js'
import { type Endpoint, type Exchange, listen, type Reply } from '../http.js'
import { answerIam } from './iamActions.js'
import type { World } from './world.js'
import { textXml, xmlDocument } from './xml.js'

const STS_NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/'

/**
 * The endpoint of AWS_ENDPOINT_URL, for services without their own emulator. It has STS GetCallerIdentity, which
 * OpenTofu calls first, and IAM. Other services are refused by name, so that no request leaves this machine for AWS.
 */
export function otherServicesEndpoint(world: World, faults = new Faults()): Promise<Endpoint> {
  return listen({
    service: 'other',
    faults,
    fail: () => ({ status: 500 }),
    handle: (exchange) => answer(world, exchange),
  })
}

function answer(world: World, { headers, body }: Exchange): Reply {
  const service = serviceOf(headers.authorization)
  if (service === 'iam') return answerIam(world, body.toString())
  const action = new URLSearchParams(body.toString()).get('Action')
  if (service === 'sts' && action === 'GetCallerIdentity') {
    const result = {
      GetCallerIdentityResult: {
        Arn: `arn:aws:sts::${world.accountId}:assumed-role/fleet-deploy/sandbox`,
        UserId: 'AROASANDBOXSANDBOX000:sandbox',
        Account: world.accountId,
      },
      ResponseMetadata: { RequestId: randomUUID() },
    }
    return textXml(200, xmlDocument('GetCallerIdentityResponse', result, STS_NAMESPACE))
  }
  const Message = `The sandbox does not emulate ${service}${action ? ` (${action})` : ''}; it has EC2, EBS direct, IAM, S3 and STS GetCallerIdentity.`
  const failure = { Error: { Type: 'Sender', Code: 'NotEmulated', Message }, RequestId: randomUUID() }
  return textXml(400, xmlDocument('ErrorResponse', failure))
}

function serviceOf(authorization = ''): string {
  return /Credential=[^/]+\/\d+\/[^/]+\/([a-z0-9-]+)\//.exec(authorization)?.[1] ?? 'unknown'
}
