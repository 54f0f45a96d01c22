import type { Filter, Instance, RunInstancesCommandInput, SecurityGroup } from '@aws-sdk/client-ec2'
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
import { ID_TAG } from '../../domain/deploy/slots.js'
import type { Inventory } from '../../domain/images/inventory.js'
import { READY_TAG } from '../../domain/images/names.js'
import type { AccountMachines } from '../../ops/images/catalog.js'
import type { Tags } from '../../ops/images/ports.js'
import type { SmokeMachines, SmokeTags } from '../../ops/images/smokeImage.js'
import { type AwsSettings, always, awsCall, clientOptions, NO_SUCH_IMAGE, unlessNamed } from '../aws/errors.js'
import { tagSpecification, tagsOf } from '../aws/tags.js'
import { toChecks } from '../deploy/compute.js'

/** The account's instances. */
export function createAccountMachines(settings: AwsSettings): AccountMachines {
  const client = new EC2Client(clientOptions(settings))
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

function toMachine({ InstanceId = '', ImageId = '', LaunchTime, Tags }: Instance): Inventory['machines'][number] {
  const tags = tagsOf(Tags)
  const hostId = tags.app === 'clawdinator' ? (tags[ID_TAG] ?? tags.Name ?? null) : null
  return { instanceId: InstanceId, hostId, imageId: ImageId, launchedAt: LaunchTime ?? null }
}

/** Tags with an AMI and a time, to find what a killed run left. */
const AMI_TAG = 'clawdinator:smoke'
const UNTIL_TAG = 'clawdinator:smoke-until'
const SMOKE: Filter = { Name: 'tag-key', Values: [AMI_TAG] }

/** Machines for smoke boots, each in its own group. */
export function createSmokeMachines(settings: AwsSettings): SmokeMachines {
  const client = new EC2Client(clientOptions(settings))

  async function vpcOf(subnet: string | null): Promise<string | undefined> {
    if (subnet === null) return undefined
    const { Subnets } = await client.send(new DescribeSubnetsCommand({ SubnetIds: [subnet] }))
    return Subnets?.[0]?.VpcId
  }

  return {
    image: (id) =>
      awsCall('EC2 DescribeImages', () =>
        unlessNamed(NO_SUCH_IMAGE, null, async () => {
          const [image] = (await client.send(new DescribeImagesCommand({ ImageIds: [id] }))).Images ?? []
          if (!image) return null
          const architecture = image.Architecture === 'arm64' ? 'arm64' : 'x86_64'
          return { architecture, available: image.State === 'available' } as const
        }),
      ),
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
        return unlessNamed(/^InvalidGroup\.Duplicate$/, null, async () => {
          const { GroupId } = await client.send(
            new CreateSecurityGroupCommand({
              GroupName,
              Description: 'A smoke boot of an image: nothing in, nothing out',
              ...(VpcId === undefined ? {} : { VpcId }),
              TagSpecifications: tagSpecification('security-group', smokeTags(tags)),
            }),
          )
          return always(GroupId)
        })
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
        const revoke = new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions })
        await unlessNamed(/^InvalidPermission\.NotFound$/, null, () => client.send(revoke))
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
          TagSpecifications: tagSpecification('instance', smokeTags(tags)),
        }
        const { Instances } = await client.send(new RunInstancesCommand(input))
        return always(Instances?.[0]?.InstanceId)
      }),
    look: (id) =>
      awsCall('EC2 DescribeInstanceStatus', async () => {
        const query = new DescribeInstanceStatusCommand({ InstanceIds: [id], IncludeAllInstances: true })
        // EC2 may not show a new instance yet.
        const found = await unlessNamed(/^InvalidInstanceID\.NotFound$/, null, () => client.send(query))
        const status = found?.InstanceStatuses?.[0]
        return { state: status?.InstanceState?.Name ?? 'pending', checks: toChecks(status) }
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
      awsCall('EC2 DeleteSecurityGroup', () =>
        unlessNamed(/^DependencyViolation$/, false, async () => {
          await client.send(new DeleteSecurityGroupCommand({ GroupId: id }))
          return true
        }),
      ),
  }
}

function smokeTags({ ami, until }: SmokeTags): Tags {
  return {
    Name: `smoke ${ami}`,
    // The role's policy is limited to this tag.
    app: 'clawdinator-smoke',
    [AMI_TAG]: ami,
    [UNTIL_TAG]: until.toISOString(),
  }
}

/** Without a time it is not in use: the next run removes it. */
function smokeTagsOf(list: Instance['Tags']): SmokeTags {
  const tags = tagsOf(list)
  const until = new Date(tags[UNTIL_TAG] ?? '')
  return { ami: tags[AMI_TAG] ?? '', until: Number.isNaN(until.getTime()) ? new Date(0) : until }
}
