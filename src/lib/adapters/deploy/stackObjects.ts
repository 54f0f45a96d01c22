import { DescribeSecurityGroupsCommand, EC2Client } from '@aws-sdk/client-ec2'
import {
  GetInstanceProfileCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  IAMClient,
  type Tag,
} from '@aws-sdk/client-iam'
import { type IdType, ROLE_POLICY, SECURITY_GROUP_NAME } from '../../domain/deploy/leftovers.js'
import { ID_TAG } from '../../domain/deploy/slots.js'
import { ClawctlError } from '../../domain/errors.js'
import type { StackObjects } from '../../ops/deploy/ports.js'
import { type AwsSettings, always, awsCall, clientOptions, unlessNamed } from '../aws/errors.js'
import { tagsOf } from '../aws/tags.js'

/** The stack's path of hosts' roles and profiles. */
const PATH = '/clawdinator/'

/**
 * Roles, profiles and the group of the fleet stack, by name.
 * @param settings.vpcId the stack's VPC; null for the account's default
 */
export function createStackObjects(settings: AwsSettings & { vpcId: string | null }): StackObjects {
  const iam = new IAMClient(clientOptions(settings))
  const ec2 = new EC2Client(clientOptions(settings))

  const lookups: Record<IdType, (id: string) => Promise<boolean>> = {
    aws_iam_role: (RoleName) =>
      exists('IAM GetRole', async () => {
        const { Role } = await iam.send(new GetRoleCommand({ RoleName }))
        checkOwn(`role ${RoleName}`, RoleName, always(Role))
      }),
    aws_iam_role_policy: (RoleName) =>
      exists('IAM GetRolePolicy', async () => {
        await iam.send(new GetRolePolicyCommand({ RoleName, PolicyName: ROLE_POLICY }))
      }),
    aws_iam_instance_profile: (InstanceProfileName) =>
      exists('IAM GetInstanceProfile', async () => {
        const { InstanceProfile } = await iam.send(new GetInstanceProfileCommand({ InstanceProfileName }))
        checkOwn(`instance profile ${InstanceProfileName}`, InstanceProfileName, always(InstanceProfile))
      }),
  }

  return {
    async ofId(id, types) {
      const found = await Promise.all(types.map(async (type) => ((await lookups[type](id)) ? [type] : [])))
      return found.flat()
    },
    securityGroup: () =>
      awsCall('EC2 DescribeSecurityGroups', async () => {
        const Filters = [
          { Name: 'group-name', Values: [SECURITY_GROUP_NAME] },
          { Name: 'tag:app', Values: ['clawdinator'] },
          ...(settings.vpcId === null ? [] : [{ Name: 'vpc-id', Values: [settings.vpcId] }]),
        ]
        const groups = always((await ec2.send(new DescribeSecurityGroupsCommand({ Filters }))).SecurityGroups)
        // Several VPCs may have one each: OpenTofu then reports the conflict itself.
        return groups.length === 1 ? (groups[0]?.GroupId ?? null) : null
      }),
  }
}

/**
 * IAM may deny access instead of reporting that the object does not exist, because the deploy role may only read below the
 * stack's path. If another object has the name, OpenTofu reports that when it creates its own.
 */
const NONE = /^(?:NoSuchEntity|AccessDenied)(?:Exception)?$/

function exists(what: string, look: () => Promise<void>): Promise<boolean> {
  return awsCall(what, () => unlessNamed(NONE, false, () => look().then(() => true)))
}

/** Checks the tags, because a name alone does not show the owner. */
function checkOwn(what: string, id: string, { Path, Tags }: { Path?: string | undefined; Tags?: Tag[] | undefined }) {
  const tags = tagsOf(Tags)
  if (Path === PATH && tags.app === 'clawdinator' && tags[ID_TAG] === id) return
  throw new ClawctlError(
    'NOT_IN_STATE',
    `There is a ${what} that the fleet stack did not create. Nothing was changed.`,
    {
      hint: `Rename or delete it, then deploy ${id} again.`,
    },
  )
}
