import type { RunInstancesCommandInput } from '@aws-sdk/client-ec2'
import { FAILED_TAG } from '../../domain/deploy/image.js'
import type { LaunchParameters, Machines } from '../../ops/deploy/ports.js'
import {
  CreateTagsCommand,
  DescribeInstancesCommand,
  EC2Client,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from '../aws/ec2MachineSdk.js'
import { awsCall, clientLimits } from '../aws/errors.js'
import type { AwsSettings } from './compute.js'

const UNKNOWN = 'InvalidInstanceID.NotFound'

/** EC2's hands on single machines. */
export function createMachines(settings: AwsSettings): Machines {
  const client = new EC2Client({ region: settings.region, ...clientLimits(settings) })
  /** What EC2 says of a machine that it does not know. */
  const orUnknown = async <T>(what: string, ask: () => Promise<T>, unknown: T) =>
    awsCall(what, async () => {
      try {
        return await ask()
      } catch (error) {
        if ((error as Error).name === UNKNOWN) return unknown
        throw error
      }
    })
  return {
    stateOf: (id) =>
      orUnknown(
        'EC2 DescribeInstances',
        async () => {
          const { Reservations = [] } = await client.send(new DescribeInstancesCommand({ InstanceIds: [id] }))
          return Reservations[0]?.Instances?.[0]?.State?.Name ?? 'unknown'
        },
        'unknown',
      ),
    stop: (id) =>
      awsCall('EC2 StopInstances', async () => {
        await client.send(new StopInstancesCommand({ InstanceIds: [id] }))
      }),
    start: (id) =>
      awsCall('EC2 StartInstances', async () => {
        await client.send(new StartInstancesCommand({ InstanceIds: [id] }))
      }),
    terminate: (id) =>
      orUnknown(
        'EC2 TerminateInstances',
        async () => {
          await client.send(new TerminateInstancesCommand({ InstanceIds: [id] }))
        },
        undefined,
      ),
    dryRun: (parameters) =>
      awsCall('EC2 RunInstances (dry run)', async () => {
        try {
          await client.send(new RunInstancesCommand(launchInput(parameters)))
          return null
        } catch (error) {
          const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } }
          if (name === 'DryRunOperation') return null
          const isVerdict = ($metadata?.httpStatusCode ?? 500) < 500 && name !== 'RequestLimitExceeded'
          if (!isVerdict) throw error
          return { denied: name === 'UnauthorizedOperation', reason: `${name}: ${message}` }
        }
      }),
    markFailed: (ami, requestId) =>
      awsCall('EC2 CreateTags', async () => {
        await client.send(new CreateTagsCommand({ Resources: [ami], Tags: [{ Key: FAILED_TAG, Value: requestId }] }))
      }),
  }
}

function launchInput(parameters: LaunchParameters): RunInstancesCommandInput {
  const { ami, instanceType, subnetId, securityGroupIds, profile, userData, rootGib, rootDevice, tags } = parameters
  return {
    DryRun: true,
    MinCount: 1,
    MaxCount: 1,
    ImageId: ami,
    InstanceType: instanceType as RunInstancesCommandInput['InstanceType'],
    MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
    ...(subnetId ? { SubnetId: subnetId } : {}),
    ...(securityGroupIds.length > 0 ? { SecurityGroupIds: [...securityGroupIds] } : {}),
    ...(profile ? { IamInstanceProfile: { Name: profile } } : {}),
    ...(userData ? { UserData: Buffer.from(userData).toString('base64') } : {}),
    ...(rootDevice
      ? {
          BlockDeviceMappings: [
            {
              DeviceName: rootDevice,
              Ebs: { Encrypted: true, VolumeType: 'gp3', ...(rootGib === null ? {} : { VolumeSize: rootGib }) },
            },
          ],
        }
      : {}),
    TagSpecifications: [
      { ResourceType: 'instance', Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) },
    ],
  }
}
