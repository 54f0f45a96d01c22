import { randomUUID } from 'node:crypto'
import type { Reply } from '../http.js'
import { Query } from './ec2Query.js'
import { AwsError } from './error.js'
import type { InstanceProfile, Role } from './iam.js'
import type { World } from './world.js'
import { textXml, type XmlValue, xmlDocument } from './xml.js'

const NAMESPACE = 'https://iam.amazonaws.com/doc/2010-05-08/'
type Result = Record<string, XmlValue>

const tagElements = (tags: ReadonlyMap<string, string>): XmlValue => ({
  member: [...tags].map(([Key, Value]) => ({ Key, Value })),
})

/** Documents are sent percent-encoded. */
const roleXml = (role: Role): XmlValue => ({
  Path: role.path,
  RoleName: role.name,
  RoleId: role.uniqueId,
  Arn: role.arn,
  CreateDate: role.createdAt,
  AssumeRolePolicyDocument: encodeURIComponent(role.trust),
  Description: role.description ?? undefined,
  MaxSessionDuration: 3600,
  ...(role.boundary === null
    ? {}
    : { PermissionsBoundary: { PermissionsBoundaryType: 'Policy', PermissionsBoundaryArn: role.boundary } }),
  Tags: tagElements(role.tags),
})

const profileXml = ({ iam }: World, profile: InstanceProfile): XmlValue => ({
  Path: profile.path,
  InstanceProfileName: profile.name,
  InstanceProfileId: profile.uniqueId,
  Arn: profile.arn,
  CreateDate: profile.createdAt,
  Roles: { member: profile.role === null ? [] : [roleXml(iam.mustRole(profile.role))] },
  Tags: tagElements(profile.tags),
})

const role = (query: Query) => query.require('RoleName')
const profile = (query: Query) => query.require('InstanceProfileName')
const tags = (query: Query) => Object.fromEntries(query.tags('Tags.member'))

/** One page is enough for all objects of the sandbox. */
const page = (name: string, member: XmlValue[], query: Query): Result => {
  query.get('MaxItems')
  return { [name]: { member }, IsTruncated: false }
}

const ACTIONS: Readonly<Record<string, (world: World, query: Query) => Result>> = {
  CreateRole: ({ iam }, query) => ({
    Role: roleXml(
      iam.createRole({
        name: role(query),
        path: query.get('Path') ?? '/',
        trust: query.require('AssumeRolePolicyDocument'),
        boundary: query.get('PermissionsBoundary') ?? null,
        description: query.get('Description') ?? null,
        tags: tags(query),
      }),
    ),
  }),
  GetRole: ({ iam }, query) => ({ Role: roleXml(iam.mustRole(role(query))) }),
  ListRoles: ({ iam }, query) => {
    const path = query.get('PathPrefix') ?? '/'
    return page('Roles', [...iam.roles.values()].filter((one) => one.path.startsWith(path)).map(roleXml), query)
  },
  ListRoleTags: ({ iam }, query) => ({ Tags: tagElements(iam.mustRole(role(query)).tags), IsTruncated: false }),
  UpdateAssumeRolePolicy: ({ iam }, query) => {
    iam.updateTrust(role(query), query.require('PolicyDocument'))
    return {}
  },
  PutRolePermissionsBoundary: ({ iam }, query) => {
    iam.setBoundary(role(query), query.require('PermissionsBoundary'))
    return {}
  },
  DeleteRolePermissionsBoundary: ({ iam }, query) => {
    iam.setBoundary(role(query), null)
    return {}
  },
  TagRole: ({ iam }, query) => {
    iam.tagRole(role(query), tags(query), [])
    return {}
  },
  UntagRole: ({ iam }, query) => {
    iam.tagRole(role(query), {}, query.list('TagKeys.member'))
    return {}
  },
  DeleteRole: ({ iam }, query) => {
    iam.deleteRole(role(query))
    return {}
  },
  PutRolePolicy: ({ iam }, query) => {
    iam.putRolePolicy(role(query), query.require('PolicyName'), query.require('PolicyDocument'))
    return {}
  },
  GetRolePolicy: ({ iam }, query) => {
    const [RoleName, PolicyName] = [role(query), query.require('PolicyName')]
    const document = iam.getRolePolicy(RoleName, PolicyName)
    if (document !== null) return { RoleName, PolicyName, PolicyDocument: encodeURIComponent(document) }
    throw new AwsError('NoSuchEntity', 404, `The role policy with name ${PolicyName} cannot be found.`)
  },
  ListRolePolicies: ({ iam }, query) => page('PolicyNames', [...iam.mustRole(role(query)).policies.keys()], query),
  ListAttachedRolePolicies: ({ iam }, query) => {
    iam.mustRole(role(query))
    return page('AttachedPolicies', [], query)
  },
  ListInstanceProfilesForRole: (world, query) => {
    const wanted = world.iam.mustRole(role(query)).name
    const found = [...world.iam.profiles.values()].filter((one) => one.role === wanted)
    return page(
      'InstanceProfiles',
      found.map((one) => profileXml(world, one)),
      query,
    )
  },
  DeleteRolePolicy: ({ iam }, query) => {
    iam.deleteRolePolicy(role(query), query.require('PolicyName'))
    return {}
  },
  CreateInstanceProfile: (world, query) => {
    const wanted = { name: profile(query), path: query.get('Path') ?? '/', tags: tags(query) }
    return { InstanceProfile: profileXml(world, world.iam.createProfile(wanted)) }
  },
  GetInstanceProfile: (world, query) => ({
    InstanceProfile: profileXml(world, world.iam.mustProfile(profile(query))),
  }),
  AddRoleToInstanceProfile: ({ iam }, query) => {
    iam.addRole(profile(query), role(query))
    return {}
  },
  RemoveRoleFromInstanceProfile: ({ iam }, query) => {
    iam.removeRole(profile(query), role(query))
    return {}
  },
  TagInstanceProfile: ({ iam }, query) => {
    iam.tagProfile(profile(query), tags(query), [])
    return {}
  },
  UntagInstanceProfile: ({ iam }, query) => {
    iam.tagProfile(profile(query), {}, query.list('TagKeys.member'))
    return {}
  },
  DeleteInstanceProfile: ({ iam }, query) => {
    iam.deleteProfile(profile(query))
    return {}
  },
}

/** The part of IAM's Query API that the fleet stack and clawctl use. */
export function answerIam(world: World, body: string): Reply {
  const query = new Query(body)
  const name = query.get('Action') ?? ''
  query.get('Version')
  try {
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
    if (!action) {
      const message = `The sandbox does not emulate iam (${name}); it has ${Object.keys(ACTIONS).join(', ')}.`
      throw new AwsError('NotEmulated', 400, message)
    }
    const result = action(world, query)
    query.refuseUnread()
    const metadata = { ResponseMetadata: { RequestId: randomUUID() } }
    return textXml(200, xmlDocument(`${name}Response`, { [`${name}Result`]: result, ...metadata }, NAMESPACE))
  } catch (error) {
    if (!(error instanceof AwsError)) throw error
    const Type = error.status < 500 ? 'Sender' : 'Receiver'
    const failure = { Error: { Type, Code: error.code, Message: error.message }, RequestId: randomUUID() }
    return textXml(error.status, xmlDocument('ErrorResponse', failure, NAMESPACE))
  }
}
