import type {
  _InstanceType,
  Instance,
  IpPermission,
  RunInstancesCommandInput,
  SecurityGroup,
} from '@aws-sdk/client-ec2'
import type { InstanceProfile as SdkProfile, Role as SdkRole, Tag } from '@aws-sdk/client-iam'
import type { Ec2, IamPort, InstanceProfile, LiveGroup, LiveInstance, NewInstance, Role, Rule, S3 } from './awsPorts.js'
import { isAwsError } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'

// Imported late: version, usage errors and show of a saved plan need no SDK, and loading it is most of a short run.
const sdk = () => import('./aws.js')

/** The SDK itself has no time limit. */
const requestHandler = { connectionTimeout: 5000, requestTimeout: 30_000, throwOnRequestTimeout: true }

/** Credentials and endpoints are the SDK's own environment variables. */
export async function createS3(region: string, pathStyle: boolean): Promise<S3> {
  const { S3Client, GetObjectCommand, PutObjectCommand, DeleteObjectCommand } = await sdk()
  // A name such as bucket.127.0.0.1 does not resolve.
  const emulated = Boolean(process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL)
  const client = new S3Client({ region, requestHandler, forcePathStyle: pathStyle || emulated })
  return {
    get: (input) => client.send(new GetObjectCommand(input)).catch(explain),
    put: (input) => client.send(new PutObjectCommand(input)).catch(explain),
    delete: (input) => client.send(new DeleteObjectCommand(input)).catch(explain),
  }
}

/** The two errors that the backend handles are not changed. */
function explain(error: unknown): never {
  if (isAwsError(error, 'NoSuchKey', 'PreconditionFailed', 'ConditionalRequestConflict')) throw error
  const { name, message } = error as Error
  throw new Diagnostic('Error accessing the state in S3', `operation error S3: api error ${name}: ${message}`)
}

const pairs = (tags: Readonly<Record<string, string>>) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))
const record = (tags: readonly { Key?: string; Value?: string }[] = []) =>
  Object.fromEntries(tags.map(({ Key = '', Value = '' }) => [Key, Value]))

/** EC2 behind the SDK. */
export async function createEc2(region: string): Promise<Ec2> {
  const aws = await sdk()
  const client = new aws.EC2Client({ region, requestHandler })
  return {
    async describe(ids) {
      if (ids.length === 0) return []
      // By filter: an id that EC2 has forgotten is then absent instead of an error for all.
      const answer = await client.send(
        new aws.DescribeInstancesCommand({ Filters: [{ Name: 'instance-id', Values: [...ids] }] }),
      )
      const found = (answer.Reservations ?? []).flatMap((reservation) => reservation.Instances ?? []).map(toLive)
      return found.filter((instance) => instance.state !== 'terminated')
    },

    async run(wanted) {
      const answer = await client.send(new aws.RunInstancesCommand(toInput(wanted)))
      const instance = answer.Instances?.[0]
      if (!instance) throw new Error('RunInstances answered without an instance')
      return toLive(instance)
    },

    async terminate(id) {
      await client.send(new aws.TerminateInstancesCommand({ InstanceIds: [id] }))
    },

    async tag(id, tags, removed) {
      if (removed.length > 0) {
        await client.send(new aws.DeleteTagsCommand({ Resources: [id], Tags: removed.map((Key) => ({ Key })) }))
      }
      if (Object.keys(tags).length > 0) {
        await client.send(new aws.CreateTagsCommand({ Resources: [id], Tags: pairs(tags) }))
      }
    },

    async createGroup({ name, description, vpcId, tags }) {
      const answer = await client.send(
        new aws.CreateSecurityGroupCommand({
          GroupName: name,
          Description: description,
          ...(vpcId === null ? {} : { VpcId: vpcId }),
          TagSpecifications: [{ ResourceType: 'security-group', Tags: pairs(tags) }],
        }),
      )
      return answer.GroupId ?? ''
    },

    async describeGroup(id) {
      const answer = await client.send(
        new aws.DescribeSecurityGroupsCommand({ Filters: [{ Name: 'group-id', Values: [id] }] }),
      )
      return answer.SecurityGroups?.[0] ? toGroup(answer.SecurityGroups[0]) : null
    },

    async authorize(GroupId, direction, rules) {
      const input = { GroupId, IpPermissions: rules.map(toPermission) }
      if (direction === 'ingress') await client.send(new aws.AuthorizeSecurityGroupIngressCommand(input))
      else await client.send(new aws.AuthorizeSecurityGroupEgressCommand(input))
    },

    async revoke(GroupId, direction, rules) {
      const input = { GroupId, IpPermissions: rules.map(toPermission) }
      if (direction === 'ingress') await client.send(new aws.RevokeSecurityGroupIngressCommand(input))
      else await client.send(new aws.RevokeSecurityGroupEgressCommand(input))
    },

    async deleteGroup(GroupId) {
      await client.send(new aws.DeleteSecurityGroupCommand({ GroupId }))
    },
  }
}

function toInput(wanted: NewInstance): RunInstancesCommandInput {
  const { endpoint, tokens, hops } = wanted.metadata
  const volume = wanted.rootVolume
  return {
    ImageId: wanted.ami,
    InstanceType: wanted.instanceType as _InstanceType,
    MinCount: 1,
    MaxCount: 1,
    UserData: wanted.userData === null ? undefined : Buffer.from(wanted.userData).toString('base64'),
    IamInstanceProfile: wanted.profile === null ? undefined : { Name: wanted.profile },
    SubnetId: wanted.subnetId ?? undefined,
    SecurityGroupIds: wanted.securityGroups.length === 0 ? undefined : [...wanted.securityGroups],
    MetadataOptions: {
      HttpEndpoint: endpoint as 'enabled' | undefined,
      HttpTokens: tokens as 'required' | undefined,
      HttpPutResponseHopLimit: hops,
    },
    BlockDeviceMappings: volume
      ? [
          {
            DeviceName: '/dev/xvda',
            Ebs: {
              Encrypted: volume.encrypted,
              VolumeType: volume.type as 'gp3' | undefined,
              VolumeSize: volume.size,
              DeleteOnTermination: volume.deleteOnTermination,
            },
          },
        ]
      : undefined,
    TagSpecifications: [{ ResourceType: 'instance', Tags: pairs(wanted.tags) }],
  }
}

function toLive(instance: Instance): LiveInstance {
  const { MetadataOptions: options } = instance
  return {
    id: instance.InstanceId ?? '',
    state: instance.State?.Name ?? 'pending',
    ami: instance.ImageId ?? '',
    instanceType: instance.InstanceType ?? '',
    privateIp: instance.PrivateIpAddress ?? null,
    publicIp: instance.PublicIpAddress ?? null,
    zone: instance.Placement?.AvailabilityZone ?? null,
    subnetId: instance.SubnetId ?? null,
    securityGroups: (instance.SecurityGroups ?? []).map(({ GroupId = '' }) => GroupId),
    profile: instance.IamInstanceProfile?.Arn?.split('/').at(-1) ?? null,
    metadata: {
      endpoint: options?.HttpEndpoint ?? null,
      tokens: options?.HttpTokens ?? null,
      hops: options?.HttpPutResponseHopLimit ?? null,
    },
    tags: record(instance.Tags),
  }
}

const toPermission = ({ protocol, from, to, cidr }: Rule): IpPermission => ({
  IpProtocol: protocol,
  ...(from === null ? {} : { FromPort: from }),
  ...(to === null ? {} : { ToPort: to }),
  ...(cidr.includes(':') ? { Ipv6Ranges: [{ CidrIpv6: cidr }] } : { IpRanges: [{ CidrIp: cidr }] }),
})

function toGroup(group: SecurityGroup): LiveGroup {
  const rules = (permissions: readonly IpPermission[] = []): Rule[] =>
    permissions.flatMap(({ IpProtocol = '-1', FromPort, ToPort, IpRanges = [], Ipv6Ranges = [] }) =>
      [...IpRanges.map(({ CidrIp }) => CidrIp), ...Ipv6Ranges.map(({ CidrIpv6 }) => CidrIpv6)].map((cidr = '') => ({
        ...{ protocol: IpProtocol, from: FromPort ?? null, to: ToPort ?? null, cidr },
      })),
    )
  return {
    id: group.GroupId ?? '',
    name: group.GroupName ?? '',
    description: group.Description ?? '',
    vpcId: group.VpcId ?? '',
    ingress: rules(group.IpPermissions),
    egress: rules(group.IpPermissionsEgress),
    tags: record(group.Tags),
  }
}

/** IAM behind the SDK. */
export async function createIam(region: string): Promise<IamPort> {
  const aws = await sdk()
  const client = new aws.IAMClient({ region, requestHandler })
  const orNull = async <T>(answer: Promise<T>): Promise<T | null> => {
    try {
      return await answer
    } catch (error) {
      if (isAwsError(error, 'NoSuchEntityException', 'NoSuchEntity')) return null
      throw error
    }
  }
  const policyOf = async (RoleName: string, PolicyName: string) => {
    const answer = await orNull(client.send(new aws.GetRolePolicyCommand({ RoleName, PolicyName })))
    return answer ? decodeURIComponent(answer.PolicyDocument ?? '') : null
  }
  return {
    async createRole({ name, path, trust, boundary, description, tags }) {
      const input = {
        ...{ RoleName: name, Path: path, AssumeRolePolicyDocument: trust, Tags: pairs(tags) },
        PermissionsBoundary: boundary ?? undefined,
        Description: description ?? undefined,
      }
      return toRole((await client.send(new aws.CreateRoleCommand(input))).Role)
    },
    async getRole(RoleName) {
      const answer = await orNull(client.send(new aws.GetRoleCommand({ RoleName })))
      if (!answer) return null
      const { PolicyNames = [] } = await client.send(new aws.ListRolePoliciesCommand({ RoleName }))
      const policies = await Promise.all(
        PolicyNames.map(async (name) => [name, (await policyOf(RoleName, name)) ?? ''] as const),
      )
      return { ...toRole(answer.Role), policies: new Map(policies) }
    },
    async updateTrust(RoleName, PolicyDocument) {
      await client.send(new aws.UpdateAssumeRolePolicyCommand({ RoleName, PolicyDocument }))
    },
    async setBoundary(RoleName, PermissionsBoundary) {
      if (PermissionsBoundary === null) {
        await client.send(new aws.DeleteRolePermissionsBoundaryCommand({ RoleName }))
      } else await client.send(new aws.PutRolePermissionsBoundaryCommand({ RoleName, PermissionsBoundary }))
    },
    async tagRole(RoleName, tags, TagKeys) {
      if (TagKeys.length > 0) await client.send(new aws.UntagRoleCommand({ RoleName, TagKeys: [...TagKeys] }))
      await client.send(new aws.TagRoleCommand({ RoleName, Tags: pairs(tags) }))
    },
    async deleteRole(RoleName) {
      await client.send(new aws.DeleteRoleCommand({ RoleName }))
    },
    async putRolePolicy(RoleName, PolicyName, PolicyDocument) {
      await client.send(new aws.PutRolePolicyCommand({ RoleName, PolicyName, PolicyDocument }))
    },
    getRolePolicy: policyOf,
    async deleteRolePolicy(RoleName, PolicyName) {
      await client.send(new aws.DeleteRolePolicyCommand({ RoleName, PolicyName }))
    },
    async createProfile({ name, path, tags }) {
      const input = { InstanceProfileName: name, Path: path, Tags: pairs(tags) }
      return toProfile((await client.send(new aws.CreateInstanceProfileCommand(input))).InstanceProfile)
    },
    async getProfile(InstanceProfileName) {
      const answer = await orNull(client.send(new aws.GetInstanceProfileCommand({ InstanceProfileName })))
      return answer ? toProfile(answer.InstanceProfile) : null
    },
    async addRole(InstanceProfileName, RoleName) {
      await client.send(new aws.AddRoleToInstanceProfileCommand({ InstanceProfileName, RoleName }))
    },
    async removeRole(InstanceProfileName, RoleName) {
      await client.send(new aws.RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName }))
    },
    async tagProfile(InstanceProfileName, tags, TagKeys) {
      if (TagKeys.length > 0) {
        await client.send(new aws.UntagInstanceProfileCommand({ InstanceProfileName, TagKeys: [...TagKeys] }))
      }
      await client.send(new aws.TagInstanceProfileCommand({ InstanceProfileName, Tags: pairs(tags) }))
    },
    async deleteProfile(InstanceProfileName) {
      await client.send(new aws.DeleteInstanceProfileCommand({ InstanceProfileName }))
    },
  }
}

const tagMap = (tags: readonly Tag[] = []) => new Map(Object.entries(record(tags)))

function toRole(role: SdkRole | undefined): Role {
  return {
    name: role?.RoleName ?? '',
    path: role?.Path ?? '/',
    arn: role?.Arn ?? '',
    uniqueId: role?.RoleId ?? '',
    createdAt: role?.CreateDate ?? new Date(0),
    trust: decodeURIComponent(role?.AssumeRolePolicyDocument ?? ''),
    boundary: role?.PermissionsBoundary?.PermissionsBoundaryArn ?? null,
    description: role?.Description ?? null,
    tags: tagMap(role?.Tags),
    policies: new Map(),
  }
}

function toProfile(profile: SdkProfile | undefined): InstanceProfile {
  return {
    name: profile?.InstanceProfileName ?? '',
    path: profile?.Path ?? '/',
    arn: profile?.Arn ?? '',
    uniqueId: profile?.InstanceProfileId ?? '',
    createdAt: profile?.CreateDate ?? new Date(0),
    role: profile?.Roles?.[0]?.RoleName ?? null,
    tags: tagMap(profile?.Tags),
  }
}
