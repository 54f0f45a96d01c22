import { expect } from 'chai'
import {
  allow,
  arn,
  change,
  content,
  created,
  document,
  ec2,
  guard,
  instance,
  key,
  listing,
  plan,
  REPLACE,
  read,
  refusal,
  replace,
  write,
} from '../../support/plans.js'

describe('guardPlan checks the content of changed resources', () => {
  const withPolicy = (...statements: object[]) =>
    plan(created, change('aws_iam_role_policy', 'a', ['update'], { after: { policy: document(...statements) } }))
  const withTrust = (after: object, more: object = {}) =>
    plan(created, change('aws_iam_role', 'a', ['create'], { after, ...more }))
  const beside = (...names: string[]) => ({
    inline_policy: names.map((name) => ({ name, policy: '{}' })),
    managed_policy_arns: names.map((name) => `arn:aws:iam::1:policy/${name}`),
  })
  const trust = (...statements: object[]) => ({ assume_role_policy: document(...statements) })

  const good: [why: string, json: object][] = [
    ["the stack's own policy", withPolicy(read('a'), listing('a'), write('a'), key('s3.eu-central-1.amazonaws.com'))],
    ['fewer permissions than that', withPolicy(write('a'))],
    ['a list of one item', withPolicy(allow(['s3:PutObject'], [arn('/heartbeats/a/*')]))],
    ["a prefix of the machine's launch", withPolicy(read('a'))],
    [
      'a list of exactly its own prefixes',
      withPolicy(allow('s3:ListBucket', arn(''), { Condition: { StringEquals: { 's3:prefix': ['bootstrap/a/*'] } } })),
    ],
    ["EC2's trust", withTrust(trust({ ...ec2, Action: ['sts:AssumeRole'] }))],
    ['lists that are computed, or empty', withTrust({ ...trust(ec2), inline_policy: null, managed_policy_arns: [] })],
    ['the policies in IAM', withTrust({ ...trust(ec2), ...beside('x') }, { before: beside('x') })],
    [
      'the same boundary',
      withTrust({ ...trust(ec2), permissions_boundary: 'b' }, { before: { permissions_boundary: 'b' } }),
    ],
    ['a role that did not exist', withTrust(trust(ec2), { before: null })],
    ['a boundary for a role without one', withTrust({ ...trust(ec2), permissions_boundary: 'b' })],
    [
      'a module without provisioners',
      { ...plan(created), configuration: { root_module: { resources: [{ address: 'x' }] } } },
    ],
  ]
  for (const [why, json] of good) it(`accepts ${why}`, () => expect(guard(json).lines).to.not.equal(undefined))

  const policies: [why: string, ...statements: object[]][] = [
    ['everything', allow('*', '*')],
    ['every bundle', allow('s3:GetObject', arn('/bootstrap/*'))],
    ["another instance's bundle", read('b')],
    ['the bundle of an id with the same beginning', allow('s3:GetObject', arn('/bootstrap/a*'))],
    ['a write to its bundle', allow('s3:PutObject', arn('/bootstrap/a/*'))],
    ['a write to the active machine', allow('s3:PutObject', arn('/active/a.json'))],
    ["another instance's heartbeats", write('b')],
    ['another bucket', allow('s3:PutObject', 'arn:aws:s3:::other/heartbeats/a/*')],
    ['the whole listing', allow('s3:ListBucket', arn(''))],
    ['a listing of more prefixes', listing('a', ['bootstrap/*'])],
    ['a listing of its own prefix and more', listing('a', ['bootstrap/a/*', 'bootstrap/*'])],
    ['a listing without values', listing('a', [])],
    ['a listing with another condition', allow('s3:ListBucket', arn(''), { Condition: { Bool: { x: 'true' } } })],
    [
      'a listing of an object',
      allow('s3:ListBucket', arn('/x'), { Condition: { StringLike: { 's3:prefix': 'bootstrap/a/*' } } }),
    ],
    ['NotAction', { Effect: 'Allow', NotAction: 's3:GetObject', Resource: '*' }],
    ['NotResource', { Effect: 'Allow', Action: 's3:GetObject', NotResource: arn('/x') }],
    ['another role', allow('sts:AssumeRole', '*')],
    ['one more action', allow(['s3:PutObject', 's3:DeleteObject'], arn('/heartbeats/a/*'))],
    ['one more resource', allow('s3:PutObject', [arn('/heartbeats/a/*'), arn('/deploys/*')])],
    ['the key without S3', key('ec2.eu-central-1.amazonaws.com')],
    [
      'the key through S3 and another service',
      key(['s3.eu-central-1.amazonaws.com', 'ec2.eu-central-1.amazonaws.com']),
    ],
    ['the key through a service with S3 at its end', key('xs3.eu-central-1.amazonaws.com')],
    ['the key through a service with S3 at its beginning', key('s3.eu-central-1.amazonaws.com.example')],
    ['the key through an empty service', key([])],
    ['the key without a condition', allow('kms:Decrypt', '*')],
    ['the key with another condition', allow('kms:Decrypt', '*', { Condition: { Bool: { x: 'true' } } })],
    [
      'another action with the key, through S3',
      { ...key('s3.eu-central-1.amazonaws.com'), Action: ['kms:CreateGrant'] },
    ],
    ['one more statement', read('a'), allow('ec2:*', '*')],
  ]
  for (const [why, ...statements] of policies) {
    it(`refuses a role policy that allows ${why}`, () => {
      const error = refusal(withPolicy(...statements))
      expect(error.message).to.include('widen a role policy (aws_iam_role_policy.clawdinator["a"])')
      expect(error.partial?.addresses).to.deep.equal(['aws_iam_role_policy.clawdinator["a"]'])
    })
  }

  it("refuses a policy that it can't parse", () => {
    for (const after of [{}, { policy: '{' }, { policy: '{}' }, { policy: [document(write('a'))] }, null]) {
      expect(refusal(plan(created, change('aws_iam_role_policy', 'a', ['update'], { after }))).message).to.include(
        'widen',
      )
    }
  })

  it('checks the bucket of the plan, and accepts any bucket if the plan names none', () => {
    const json = { ...withPolicy(write('a')), variables: { bucket: { value: 'other' } } }
    expect(refusal(json).message).to.include('widen')
    for (const variables of [undefined, {}]) {
      expect(guard({ ...withPolicy(write('a')), variables }).lines).to.have.length(2)
    }
    const dotted = (bucket: string) => withPolicy(allow('s3:PutObject', `arn:aws:s3:::${bucket}/heartbeats/a/*`))
    const variables = { bucket: { value: 'my.bucket' } }
    expect(guard({ ...dotted('my.bucket'), variables }).lines).to.have.length(2)
    expect(refusal({ ...dotted('my-bucket'), variables }).message).to.include('widen')
  })

  const trusts: [why: string, after: object, more?: object][] = [
    ['everybody', trust({ ...ec2, Principal: '*' })],
    ['an account', trust({ ...ec2, Principal: { AWS: 'arn:aws:iam::1:root' } })],
    ['another service', trust({ ...ec2, Principal: { Service: 'lambda.amazonaws.com' } })],
    ['a service with EC2 at its end', trust({ ...ec2, Principal: { Service: 'xec2.amazonaws.com' } })],
    ['a service with EC2 at its beginning', trust({ ...ec2, Principal: { Service: 'ec2.amazonaws.com.example' } })],
    ['EC2 and another service', trust({ ...ec2, Principal: { Service: 'ec2.amazonaws.com', AWS: '*' } })],
    ['two services', trust({ ...ec2, Principal: { Service: ['ec2.amazonaws.com', 'x'] } })],
    ['one more statement', trust(ec2, { ...ec2, Principal: '*' })],
    ['another action', trust({ ...ec2, Action: 'sts:*' })],
    ['an unreadable policy', { assume_role_policy: undefined }],
    ['an additional policy', { ...trust(ec2), managed_policy_arns: ['arn:aws:iam::aws:policy/AdministratorAccess'] }],
    ['an inline policy', { ...trust(ec2), inline_policy: [{ name: 'x', policy: '{}' }] }],
    ['more policies than IAM has', { ...trust(ec2), ...beside('x', 'y') }, { before: beside('x') }],
    ['the removal of its boundary', trust(ec2), { before: { permissions_boundary: 'b' } }],
    ['another boundary', { ...trust(ec2), permissions_boundary: 'c' }, { before: { permissions_boundary: 'b' } }],
  ]
  for (const [why, after, more] of trusts) {
    it(`refuses a role with a trust or permission for ${why}`, () => {
      expect(refusal(withTrust(after, more)).message).to.include('widen who may take a role')
    })
  }

  it('refuses open ingress, in the group or as a rule of its own', () => {
    const group = (ingress: unknown) => change('aws_security_group', undefined, ['update'], { after: { ingress } })
    const error = refusal(plan(created, group([{ from_port: 22 }])))
    expect(error.message).to.include('open ingress (aws_security_group.clawdinator)')
    expect(refusal(plan(created, group('0.0.0.0/0'))).message).to.include('open ingress')
    expect(guard(plan(created, group(null))).lines).to.have.length(2)
    expect(guard(plan(created, group(undefined))).lines).to.have.length(2)
    const rule = change('aws_vpc_security_group_ingress_rule', undefined, ['create'])
    expect(refusal(plan(created, rule)).message).to.include('open ingress')
    const old = (type: string) => change('aws_security_group_rule', undefined, ['create'], { after: { type } })
    expect(refusal(plan(created, old('ingress'))).message).to.include('open ingress')
    expect(refusal(plan(created, old('egress'))).message).to.not.include('open ingress')
  })

  it('refuses a machine with the name of another instance', () => {
    const json = plan(instance('a/b', ['create'], { after: content('aws_instance', 'b') }))
    expect(refusal(json).message).to.include('have a machine with the tags of b')
    expect(refusal(plan(instance('a/b', ['create'], { after: {} }))).message).to.include('have a machine')
    const other = { after: content('aws_instance', 'b') }
    expect(refusal(plan(instance('a', REPLACE, other)), replace).message).to.include(
      'have a machine with the tags of b',
    )
  })

  it('also checks the role of a replaced machine', () => {
    const open = { after: trust({ ...ec2, Principal: '*' }) }
    const json = plan(instance('a', REPLACE), change('aws_iam_role', 'a', REPLACE, open))
    expect(refusal(json, replace).message).to.include('widen who may take a role')
  })

  it('refuses provisioners of any resource', () => {
    const resource = { address: 'terraform_data.x', provisioners: [{ type: 'local-exec' }] }
    const root = { ...plan(created), configuration: { root_module: { resources: [resource] } } }
    expect(refusal(root).message).to.include('run a provisioner of terraform_data.x')
    const module = { root_module: { module_calls: { m: { module: { resources: [resource] } } } } }
    const below = refusal({ ...plan(created), configuration: module })
    expect(below.message).to.include('run a provisioner of module.m.terraform_data.x')
    expect(below.partial?.addresses).to.deep.equal(['module.m.terraform_data.x'])
    const none = { root_module: { resources: [{ address: 'x', provisioners: [] }], module_calls: { m: {} } } }
    expect(guard({ ...plan(created), configuration: none }).lines).to.have.length(1)
    const odd = refusal({ ...plan(created), configuration: { root_module: 3 } })
    expect(odd.message).to.include('run what its configuration holds, which has an unknown form')
    expect(odd.partial?.addresses).to.deep.equal(['configuration'])
  })
})
