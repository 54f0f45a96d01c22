import { randomUUID } from 'node:crypto'
import type { Filter, Instance, RunInstancesCommandInput, SecurityGroup, Tag } from '@aws-sdk/client-ec2'
import { ClawctlError } from '../../domain/errors.js'
import { READY_TAG } from '../../domain/images/names.js'
import type { SmokeMachines, SmokeMark } from '../../ops/images/smokeImage.js'
import {
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  DeleteSecurityGroupCommand,
  DescribeImagesCommand,
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  EC2Client,
  GetConsoleOutputCommand,
  RevokeSecurityGroupEgressCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from '../aws/ec2MachineSdk.js'
import { awsCall, clientLimits } from '../aws/errors.js'
import type { AwsSettings } from '../deploy/compute.js'

/** Their values are an AMI and a time: what a killed run has left is found by them. */
const AMI_TAG = 'clawdinator:smoke'
const UNTIL_TAG = 'clawdinator:smoke-until'
const LIVE_STATES = ['pending', 'running', 'stopping', 'stopped']
const MARKED: Filter = { Name: 'tag-key', Values: [AMI_TAG] }

/** Machines that boot once, in a group of their own. */
export function createSmokeMachines(settings: AwsSettings): SmokeMachines {
  const client = new EC2Client({ region: settings.region, ...clientLimits(settings) })

  async function vpcOf(subnet: string | null): Promise<string | undefined> {
    if (subnet === null) return undefined
    const { Subnets } = await client.send(new DescribeSubnetsCommand({ SubnetIds: [subnet] }))
    return Subnets?.[0]?.VpcId
  }

  return {
    image: (id) =>
      awsCall('EC2 DescribeImages', async () => {
        try {
          const [image] = (await client.send(new DescribeImagesCommand({ ImageIds: [id] }))).Images ?? []
          if (!image) return null
          const architecture = image.Architecture === 'arm64' ? 'arm64' : 'x86_64'
          return { architecture, available: image.State === 'available' }
        } catch (error) {
          if (/^InvalidAMIID\./.test((error as Error).name)) return null
          throw error
        }
      }),
    marked: () =>
      awsCall('EC2 DescribeInstances', async () => {
        const live: Filter = { Name: 'instance-state-name', Values: LIVE_STATES }
        const [machines, groups] = await Promise.all([
          client.send(new DescribeInstancesCommand({ Filters: [MARKED, live] })),
          client.send(new DescribeSecurityGroupsCommand({ Filters: [MARKED] })),
        ])
        const instances = (machines.Reservations ?? []).flatMap(({ Instances = [] }) => Instances)
        return {
          instances: instances.map((one: Instance) => ({ id: one.InstanceId ?? '', ...markOf(one.Tags) })),
          groups: (groups.SecurityGroups ?? []).map((one: SecurityGroup) => ({
            id: one.GroupId ?? '',
            ...markOf(one.Tags),
          })),
        }
      }),
    createGroup: (mark, subnet) =>
      awsCall('EC2 CreateSecurityGroup', async () => {
        const VpcId = await vpcOf(subnet)
        const { GroupId = '' } = await client.send(
          new CreateSecurityGroupCommand({
            GroupName: `clawdinator-smoke-${randomUUID().slice(0, 8)}`,
            Description: 'A smoke boot of an image: nothing in, nothing out',
            ...(VpcId === undefined ? {} : { VpcId }),
            TagSpecifications: [{ ResourceType: 'security-group', Tags: tagsOf(mark) }],
          }),
        )
        // A new group lets everything out.
        const IpPermissions = [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] }]
        await client.send(new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions }))
        return GroupId
      }),
    launch: ({ ami, type, group, subnet, mark }) =>
      awsCall('EC2 RunInstances', async () => {
        const input: RunInstancesCommandInput = {
          ImageId: ami,
          InstanceType: type as NonNullable<RunInstancesCommandInput['InstanceType']>,
          MinCount: 1,
          MaxCount: 1,
          NetworkInterfaces: [
            {
              DeviceIndex: 0,
              Groups: [group],
              AssociatePublicIpAddress: false,
              DeleteOnTermination: true,
              ...(subnet === null ? {} : { SubnetId: subnet }),
            },
          ],
          MetadataOptions: { HttpTokens: 'required' },
          InstanceInitiatedShutdownBehavior: 'terminate',
          TagSpecifications: [{ ResourceType: 'instance', Tags: tagsOf(mark) }],
        }
        const { Instances } = await client.send(new RunInstancesCommand(input))
        const id = Instances?.[0]?.InstanceId
        if (!id) throw new ClawctlError('UPSTREAM', 'EC2 started no machine and did not say why.')
        return id
      }),
    look: (id) =>
      awsCall('EC2 DescribeInstanceStatus', async () => {
        const query = new DescribeInstanceStatusCommand({ InstanceIds: [id], IncludeAllInstances: true })
        try {
          const [status] = (await client.send(query)).InstanceStatuses ?? []
          const both = [status?.InstanceStatus?.Status, status?.SystemStatus?.Status]
          const checks = both.includes('impaired')
            ? 'impaired'
            : both.every((one) => one === 'ok')
              ? 'ok'
              : both.includes('initializing')
                ? 'initializing'
                : 'unknown'
          return { state: status?.InstanceState?.Name ?? 'pending', checks }
        } catch (error) {
          // EC2 may not show an instance yet that it has just started.
          if ((error as Error).name === 'InvalidInstanceID.NotFound') return { state: 'pending', checks: 'unknown' }
          throw error
        }
      }),
    console: (id) =>
      awsCall('EC2 GetConsoleOutput', async () => {
        const { Output = '' } = await client.send(new GetConsoleOutputCommand({ InstanceId: id, Latest: true }))
        return Buffer.from(Output, 'base64').toString()
      }),
    terminate: (ids) =>
      awsCall('EC2 TerminateInstances', async () => {
        try {
          await client.send(new TerminateInstancesCommand({ InstanceIds: [...ids] }))
        } catch (error) {
          if ((error as Error).name !== 'InvalidInstanceID.NotFound') throw error
        }
      }),
    withdraw: (ami) =>
      awsCall('EC2 CreateTags', async () => {
        await client.send(new CreateTagsCommand({ Resources: [ami], Tags: [{ Key: READY_TAG, Value: 'withdrawn' }] }))
      }),
    deleteGroup: (id) =>
      awsCall('EC2 DeleteSecurityGroup', async () => {
        try {
          await client.send(new DeleteSecurityGroupCommand({ GroupId: id }))
          return true
        } catch (error) {
          if ((error as Error).name === 'DependencyViolation') return false
          if ((error as Error).name === 'InvalidGroup.NotFound') return true
          throw error
        }
      }),
  }
}

function tagsOf({ ami, until }: SmokeMark): Tag[] {
  return [
    { Key: 'Name', Value: `smoke ${ami}` },
    // What the role may start and end is limited to this.
    { Key: 'app', Value: 'clawdinator-smoke' },
    { Key: AMI_TAG, Value: ami },
    { Key: UNTIL_TAG, Value: until.toISOString() },
  ]
}

/** Without a time it is nobody's: it goes. */
function markOf(tags: Tag[] | undefined): SmokeMark {
  const value = (key: string) => tags?.find((tag) => tag.Key === key)?.Value ?? ''
  const until = new Date(value(UNTIL_TAG))
  return { ami: value(AMI_TAG), until: Number.isNaN(until.getTime()) ? new Date(0) : until }
}
