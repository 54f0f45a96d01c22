import {
  AddRoleToInstanceProfileCommand,
  CreateInstanceProfileCommand,
  CreateRoleCommand,
  DeleteInstanceProfileCommand,
  DeleteRoleCommand,
  DeleteRolePolicyCommand,
  GetInstanceProfileCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  GetUserCommand,
  IAMClient,
  ListInstanceProfilesForRoleCommand,
  ListRolePoliciesCommand,
  ListRolesCommand,
  ListRoleTagsCommand,
  PutRolePolicyCommand,
  RemoveRoleFromInstanceProfileCommand,
  TagRoleCommand,
  UntagRoleCommand,
} from '@aws-sdk/client-iam'
import { expect } from 'chai'
import { otherServicesEndpoint } from '../../sandbox/aws/other.js'
import { allows, trusts } from '../../sandbox/aws/policy.js'
import { World } from '../../sandbox/aws/world.js'
import type { Endpoint } from '../../sandbox/http.js'
import './awsSupport.js'

const document = (...Statement: object[]) => JSON.stringify({ Version: '2012-10-17', Statement })
const TRUST = document({ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } })
const READ = document({ Effect: 'Allow', Action: 's3:Get*', Resource: 'arn:aws:s3:::b/own/*' })

describe('sandbox: IAM', () => {
  let world: World
  let endpoint: Endpoint
  let iam: IAMClient

  beforeEach(async () => {
    world = new World()
    endpoint = await otherServicesEndpoint(world)
    const credentials = { accessKeyId: 'AKIASANDBOX', secretAccessKey: 'not verified' }
    iam = new IAMClient({ endpoint: endpoint.url, region: world.region, credentials })
  })
  afterEach(async () => {
    iam.destroy()
    await endpoint.close()
  })

  const role = (RoleName: string, more: object = {}) =>
    new CreateRoleCommand({ RoleName, Path: '/fleet/', AssumeRolePolicyDocument: TRUST, ...more })

  async function refusal(call: Promise<unknown>): Promise<string> {
    try {
      await call
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`
    }
    throw new Error('it was not refused')
  }

  it('stores roles with their policies and tags', async () => {
    const made = await iam.send(role('one', { Tags: [{ Key: 'app', Value: 'x & y' }] }))
    expect(made.Role?.Arn).to.equal('arn:aws:iam::000000000000:role/fleet/one')
    await iam.send(new PutRolePolicyCommand({ RoleName: 'one', PolicyName: 'own', PolicyDocument: READ }))
    const read = await iam.send(new GetRoleCommand({ RoleName: 'one' }))
    expect(decodeURIComponent(read.Role?.AssumeRolePolicyDocument ?? '')).to.equal(TRUST)
    expect(read.Role?.Tags).to.deep.equal([{ Key: 'app', Value: 'x & y' }])
    const policy = await iam.send(new GetRolePolicyCommand({ RoleName: 'one', PolicyName: 'own' }))
    expect(decodeURIComponent(policy.PolicyDocument ?? '')).to.equal(READ)
    expect((await iam.send(new ListRolePoliciesCommand({ RoleName: 'one' }))).PolicyNames).to.deep.equal(['own'])
    expect((await iam.send(new ListRolesCommand({ PathPrefix: '/fleet/' }))).Roles?.length).to.equal(1)
    expect((await iam.send(new ListRolesCommand({ PathPrefix: '/other/' }))).Roles ?? []).to.deep.equal([])
    await iam.send(new TagRoleCommand({ RoleName: 'one', Tags: [{ Key: 'b', Value: '' }] }))
    await iam.send(new UntagRoleCommand({ RoleName: 'one', TagKeys: ['app'] }))
    expect((await iam.send(new ListRoleTagsCommand({ RoleName: 'one' }))).Tags).to.deep.equal([{ Key: 'b', Value: '' }])
  })

  it('stores instance profiles, and refuses to delete objects in use', async () => {
    await iam.send(role('one'))
    await iam.send(new CreateInstanceProfileCommand({ InstanceProfileName: 'one', Path: '/fleet/' }))
    const both = { InstanceProfileName: 'one', RoleName: 'one' }
    await iam.send(new AddRoleToInstanceProfileCommand(both))
    const profile = await iam.send(new GetInstanceProfileCommand({ InstanceProfileName: 'one' }))
    expect(profile.InstanceProfile?.Roles?.map(({ RoleName }) => RoleName)).to.deep.equal(['one'])
    const of = await iam.send(new ListInstanceProfilesForRoleCommand({ RoleName: 'one' }))
    expect(of.InstanceProfiles?.map(({ InstanceProfileName }) => InstanceProfileName)).to.deep.equal(['one'])
    const last = iam.send(new DeleteInstanceProfileCommand({ InstanceProfileName: 'one' }))
    expect(await refusal(last)).to.match(/^DeleteConflict/)
    expect(await refusal(iam.send(new DeleteRoleCommand({ RoleName: 'one' })))).to.match(/^DeleteConflict/)
    await iam.send(new RemoveRoleFromInstanceProfileCommand(both))
    await iam.send(new DeleteInstanceProfileCommand({ InstanceProfileName: 'one' }))
    await iam.send(new PutRolePolicyCommand({ RoleName: 'one', PolicyName: 'own', PolicyDocument: READ }))
    expect(await refusal(iam.send(new DeleteRoleCommand({ RoleName: 'one' })))).to.include('must delete policies first')
    await iam.send(new DeleteRolePolicyCommand({ RoleName: 'one', PolicyName: 'own' }))
    await iam.send(new DeleteRoleCommand({ RoleName: 'one' }))
    expect([world.iam.roles.size, world.iam.profiles.size]).to.deep.equal([0, 0])
  })

  it("refuses with IAM's codes", async () => {
    await iam.send(role('one'))
    const policy = (PolicyDocument: string) =>
      iam.send(new PutRolePolicyCommand({ RoleName: 'one', PolicyName: 'own', PolicyDocument }))
    for (const [call, expected] of [
      [() => iam.send(role('one')), /^EntityAlreadyExists\w*: Role with name one already exists/],
      [() => iam.send(role('a/b')), /^ValidationError: The specified value for roleName is invalid/],
      [() => iam.send(role('two', { AssumeRolePolicyDocument: READ })), /^MalformedPolicyDocument\w*: .*principals/],
      [() => iam.send(new GetRoleCommand({ RoleName: 'none' })), /^NoSuchEntity/],
      [() => iam.send(new GetRolePolicyCommand({ RoleName: 'one', PolicyName: 'none' })), /^NoSuchEntity/],
      [() => iam.send(new GetInstanceProfileCommand({ InstanceProfileName: 'none' })), /^NoSuchEntity/],
      [() => policy('{'), /^MalformedPolicyDocument/],
      [() => policy(document({ Effect: 'Allow', Action: 's3:*' })), /^MalformedPolicyDocument\w*: .*resources/],
      [() => policy(document({ Effect: 'Allow', Resource: '*' })), /^MalformedPolicyDocument\w*: .*actions/],
      [() => iam.send(new GetUserCommand({})), /^NotEmulated: The sandbox does not emulate iam \(GetUser\)/],
    ] as const) {
      expect(await refusal(call())).to.match(expected)
    }
  })
})

describe('sandbox: policies', () => {
  const s3 = (action: string, resource: string, context = {}) => ({ action, resource, context })

  it('allow what a statement allows, and deny everything else and what a statement denies', () => {
    const all = document({ Effect: 'Allow', Action: ['s3:*'], Resource: '*' })
    const never = document({ Effect: 'Deny', Action: 's3:GetObject', Resource: 'arn:aws:s3:::b/own/secret?' })
    for (const [policies, request, expected] of [
      [[READ], s3('s3:GetObject', 'arn:aws:s3:::b/own/a/b'), true],
      [[READ], s3('S3:getobject', 'arn:aws:s3:::b/own/a'), true],
      [[READ], s3('s3:GetObject', 'arn:aws:s3:::b/owner'), false],
      [[READ], s3('s3:PutObject', 'arn:aws:s3:::b/own/a'), false],
      [[], s3('s3:GetObject', 'arn:aws:s3:::b/own/a'), false],
      [[all, never], s3('s3:GetObject', 'arn:aws:s3:::b/own/secret1'), false],
      [[all, never], s3('s3:GetObject', 'arn:aws:s3:::b/own/secret12'), true],
    ] as const) {
      expect(allows(policies, request), JSON.stringify(request)).to.equal(expected)
    }
  })

  it('evaluate their conditions, and only the operators that the stacks use', () => {
    const when = (Condition: object) => document({ Effect: 'Allow', Action: 's3:ListBucket', Resource: '*', Condition })
    const list = (prefix?: string) =>
      s3('s3:ListBucket', 'arn:aws:s3:::b', prefix === undefined ? {} : { 's3:prefix': prefix })
    const like = when({ StringLike: { 's3:prefix': ['own/*', 'active/a.json'] } })
    expect(
      ['own/x', 'active/a.json', 'other/x', undefined].map((prefix) => allows([like], list(prefix))),
    ).to.deep.equal([...[true, true, false, false]])
    expect(allows([when({ StringEquals: { 's3:prefix': 'own/*' } })], list('own/x'))).to.equal(false)
    expect(() => allows([when({ IpAddress: { 'aws:SourceIp': '::1' } })], list('x'))).to.throw('IpAddress')
    expect([trusts(TRUST, 'ec2.amazonaws.com'), trusts(TRUST, 'lambda.amazonaws.com')]).to.deep.equal([true, false])
  })
})
