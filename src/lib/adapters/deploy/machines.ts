import type { RunInstancesCommandInput } from '@aws-sdk/client-ec2'
import {
  CreateTagsCommand,
  EC2Client,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2'
import { FAILED_TAG } from '../../domain/deploy/image.js'
import type { LaunchParameters, Machines } from '../../ops/deploy/ports.js'
import { type AwsSettings, awsCall, clientOptions, unlessNamed } from '../aws/errors.js'
import { tagSpecification } from '../aws/tags.js'

const UNKNOWN = /^InvalidInstanceID\.NotFound$/

/** EC2 operations on single machines. */
export function createMachines(settings: AwsSettings): Machines {
  const client = new EC2Client(clientOptions(settings))
  return {
    stop: (id) =>
      awsCall('EC2 StopInstances', async () => {
        await client.send(new StopInstancesCommand({ InstanceIds: [id] }))
      }),
    start: (id) =>
      awsCall('EC2 StartInstances', async () => {
        await client.send(new StartInstancesCommand({ InstanceIds: [id] }))
      }),
    terminate: (id) =>
      awsCall('EC2 TerminateInstances', async () => {
        await unlessNamed(UNKNOWN, null, () => client.send(new TerminateInstancesCommand({ InstanceIds: [id] })))
      }),
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
    TagSpecifications: tagSpecification('instance', tags),
  }
}
