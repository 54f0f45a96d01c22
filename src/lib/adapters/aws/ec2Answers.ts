import type { Instance, InstanceStatus } from '@aws-sdk/client-ec2'
import type { Readers } from './largeAnswers.js'
import { readXml, type Shape, type Texts } from './xml.js'

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

/** Megabytes of XML for a thousand instances, with every block device and interface: see readingBy. */
export const EC2_READERS: Readers = {
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
