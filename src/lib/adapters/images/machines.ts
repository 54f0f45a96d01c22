import type { Filter, Instance, RunInstancesCommandInput, SecurityGroup, Tag } from '@aws-sdk/client-ec2'
import {
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  DeleteSecurityGroupCommand,
  DescribeImagesCommand,
  DescribeInstanceStatusCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  EC2Client,
  GetConsoleOutputCommand,
  paginateDescribeInstances,
  paginateDescribeSecurityGroups,
  RevokeSecurityGroupEgressCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2'
import { LIVE_STATES } from '../../domain/deploy/host.js'
import type { Inventory } from '../../domain/images/inventory.js'
import { READY_TAG } from '../../domain/images/names.js'
import type { Machines } from '../../ops/images/catalog.js'
import type { SmokeMachines, SmokeTags } from '../../ops/images/smokeImage.js'
import { always, awsCall, clientLimits } from '../aws/errors.js'
import { type AwsSettings, toChecks } from '../deploy/compute.js'

/** The account's instances. */
export function createMachines(settings: AwsSettings): Machines {
  const client = new EC2Client({ region: settings.region, ...clientLimits(settings) })
  return {
    list: () =>
      awsCall('EC2 DescribeInstances', async () => {
        const found: Inventory['machines'] = []
        const Filters = [{ Name: 'instance-state-name', Values: [...LIVE_STATES] }]
        for await (const page of paginateDescribeInstances({ client, pageSize: 1000 }, { Filters })) {
          for (const { Instances = [] } of always(page.Reservations)) found.push(...Instances.map(toMachine))
        }
        return found
      }),
  }
}

function toMachine({ InstanceId = '', ImageId = '', LaunchTime, Tags = [] }: Instance): Inventory['machines'][number] {
  const tag = (key: string) => Tags.find(({ Key }) => Key === key)?.Value
  const hostId = tag('app') === 'clawdinator' ? (tag('clawdinator:id') ?? tag('Name') ?? null) : null
  return { instanceId: InstanceId, hostId, imageId: ImageId, launchedAt: LaunchTime ?? null }
}

/** Tags with an AMI and a time, to find what a killed run left. */
const AMI_TAG = 'clawdinator:smoke'
const UNTIL_TAG = 'clawdinator:smoke-until'
const SMOKE: Filter = { Name: 'tag-key', Values: [AMI_TAG] }

/** Machines for smoke boots, each in its own group. */
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
    tagged: () =>
      awsCall('EC2 DescribeInstances', async () => {
        const live: Filter = { Name: 'instance-state-name', Values: [...LIVE_STATES] }
        const instances: Instance[] = []
        for await (const page of paginateDescribeInstances({ client }, { Filters: [SMOKE, live] })) {
          for (const { Instances = [] } of always(page.Reservations)) instances.push(...Instances)
        }
        const groups: SecurityGroup[] = []
        for await (const page of paginateDescribeSecurityGroups({ client }, { Filters: [SMOKE] })) {
          groups.push(...always(page.SecurityGroups))
        }
        return {
          instances: instances.map((one) => ({ id: one.InstanceId ?? '', ...smokeTagsOf(one.Tags) })),
          groups: groups.map((one) => ({
            id: one.GroupId ?? '',
            ...smokeTagsOf(one.Tags),
          })),
        }
      }),
    createGroup: (GroupName, tags, subnet) =>
      awsCall('EC2 CreateSecurityGroup', async () => {
        const VpcId = await vpcOf(subnet)
        try {
          const { GroupId } = await client.send(
            new CreateSecurityGroupCommand({
              GroupName,
              Description: 'A smoke boot of an image: nothing in, nothing out',
              ...(VpcId === undefined ? {} : { VpcId }),
              TagSpecifications: [{ ResourceType: 'security-group', Tags: tagListOf(tags) }],
            }),
          )
          return always(GroupId)
        } catch (error) {
          if ((error as Error).name === 'InvalidGroup.Duplicate') return null
          throw error
        }
      }),
    findGroup: (name) =>
      awsCall('EC2 DescribeSecurityGroups', async () => {
        const Filters = [SMOKE, { Name: 'group-name', Values: [name] }]
        const { SecurityGroups } = await client.send(new DescribeSecurityGroupsCommand({ Filters }))
        return SecurityGroups?.[0]?.GroupId ?? null
      }),
    closeGroup: (GroupId) =>
      awsCall('EC2 RevokeSecurityGroupEgress', async () => {
        // A new group allows all egress.
        const IpPermissions = [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] }]
        try {
          await client.send(new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions }))
        } catch (error) {
          if ((error as Error).name !== 'InvalidPermission.NotFound') throw error
        }
      }),
    launch: ({ ami, type, group, subnet, tags }) =>
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
          TagSpecifications: [{ ResourceType: 'instance', Tags: tagListOf(tags) }],
        }
        const { Instances } = await client.send(new RunInstancesCommand(input))
        return always(Instances?.[0]?.InstanceId)
      }),
    look: (id) =>
      awsCall('EC2 DescribeInstanceStatus', async () => {
        const query = new DescribeInstanceStatusCommand({ InstanceIds: [id], IncludeAllInstances: true })
        try {
          const [status] = (await client.send(query)).InstanceStatuses ?? []
          return { state: status?.InstanceState?.Name ?? 'pending', checks: toChecks(status) }
        } catch (error) {
          // EC2 may not show a new instance yet.
          if ((error as Error).name === 'InvalidInstanceID.NotFound') return { state: 'pending', checks: 'unknown' }
          throw error
        }
      }),
    console: (id) =>
      awsCall('EC2 GetConsoleOutput', async () => {
        const { Output = '' } = await client.send(new GetConsoleOutputCommand({ InstanceId: id, Latest: true }))
        return Buffer.from(Output, 'base64').toString()
      }),
    terminate: (id) =>
      awsCall('EC2 TerminateInstances', async () => {
        await client.send(new TerminateInstancesCommand({ InstanceIds: [id] }))
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
          throw error
        }
      }),
  }
}

function tagListOf({ ami, until }: SmokeTags): Tag[] {
  return [
    { Key: 'Name', Value: `smoke ${ami}` },
    // The role's policy is limited to this tag.
    { Key: 'app', Value: 'clawdinator-smoke' },
    { Key: AMI_TAG, Value: ami },
    { Key: UNTIL_TAG, Value: until.toISOString() },
  ]
}

/** Without a time it is not in use: the next run removes it. */
function smokeTagsOf(tags: Tag[] | undefined): SmokeTags {
  const value = (key: string) => tags?.find((tag) => tag.Key === key)?.Value ?? ''
  const until = new Date(value(UNTIL_TAG))
  return { ami: value(AMI_TAG), until: Number.isNaN(until.getTime()) ? new Date(0) : until }
}
