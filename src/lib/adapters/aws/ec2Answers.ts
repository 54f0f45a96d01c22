import type { EC2Client, Instance, InstanceStatus } from '@aws-sdk/client-ec2'
import { readXml, type Shape, type Texts } from './xml.js'

/**
 * What is read of the two large answers. A thousand instances are megabytes of XML, of which the SDK makes an object
 * each for every block device and interface: 100 ms of CPU, against 20 ms for the parts that are asked for here.
 */
const INSTANCES = {
  nextToken: 'text',
  reservationSet: [
    {
      instancesSet: [
        {
          instanceId: 'text',
          imageId: 'text',
          instanceState: { name: 'text' },
          instanceType: 'text',
          ipAddress: 'text',
          launchTime: 'text',
          tagSet: [{ key: 'text', value: 'text' }],
        },
      ],
    },
  ],
} as const satisfies Shape
const STATUSES = {
  nextToken: 'text',
  instanceStatusSet: [{ instanceId: 'text', instanceStatus: { status: 'text' }, systemStatus: { status: 'text' } }],
} as const satisfies Shape

const READERS: Readonly<Record<string, (xml: string) => object | null>> = {
  DescribeInstances(xml) {
    const answer = readXml(xml, 'DescribeInstancesResponse', INSTANCES)
    return (
      answer && {
        NextToken: answer.nextToken,
        Reservations: answer.reservationSet?.map(({ instancesSet }) => ({ Instances: instancesSet?.map(instanceOf) })),
      }
    )
  },
  DescribeInstanceStatus(xml) {
    const answer = readXml(xml, 'DescribeInstanceStatusResponse', STATUSES)
    return answer && { NextToken: answer.nextToken, InstanceStatuses: answer.instanceStatusSet?.map(statusOf) }
  },
}

function instanceOf(read: Texts<(typeof INSTANCES.reservationSet)[0]['instancesSet'][0]>): Instance {
  return {
    InstanceId: read.instanceId,
    ImageId: read.imageId,
    State: { Name: read.instanceState?.name as NonNullable<Instance['State']>['Name'] },
    InstanceType: read.instanceType as Instance['InstanceType'],
    PublicIpAddress: read.ipAddress,
    LaunchTime: read.launchTime === undefined ? undefined : new Date(read.launchTime),
    Tags: read.tagSet?.map(({ key, value }) => ({ Key: key, Value: value })),
  }
}

function statusOf(read: Texts<(typeof STATUSES.instanceStatusSet)[0]>): InstanceStatus {
  return {
    InstanceId: read.instanceId,
    InstanceStatus: { Status: read.instanceStatus?.status as NonNullable<InstanceStatus['InstanceStatus']>['Status'] },
    SystemStatus: { Status: read.systemStatus?.status as NonNullable<InstanceStatus['SystemStatus']>['Status'] },
  }
}

/** As far as the SDK's protocols are meddled with here. */
interface Protocol {
  deserializeResponse(operation: { name: string }, context: Context, response: Response): Promise<unknown>
  deserializeMetadata(response: Response): unknown
}
interface Context {
  streamCollector(body: unknown): Promise<Uint8Array>
}
interface Response {
  statusCode: number
  body: unknown
}

/** The client, reading instances and their checks by the readers above; failures and what they can't read stay the SDK's. */
export function readingLarge(client: EC2Client): EC2Client {
  const protocol = client.config.protocol as unknown as Protocol
  const bySdk = protocol.deserializeResponse.bind(protocol)
  protocol.deserializeResponse = async (operation, context, response) => {
    const read = READERS[operation.name.replace(/^.*#/, '')]
    if (!read || response.statusCode !== 200) return bySdk(operation, context, response)
    const bytes = await context.streamCollector(response.body)
    const answer = read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
    if (!answer) return bySdk(operation, context, { ...response, body: bytes })
    return { ...answer, $metadata: protocol.deserializeMetadata(response) }
  }
  return client
}
