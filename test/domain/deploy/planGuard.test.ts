import { expect } from 'chai'
import fc from 'fast-check'
import { expectPlan, NO_ADOPTION } from '../../../src/lib/domain/deploy/expectation.js'
import { guardPlan, plannedChanges } from '../../../src/lib/domain/deploy/planGuard.js'
import { type Change, ID_TYPES, instanceAddress, machinesInState } from '../../../src/lib/domain/deploy/slots.js'
import type { ClawctlError } from '../../../src/lib/domain/errors.js'
import { thrown } from '../../support/fakes.js'

interface Planned {
  address: string
  mode: string
  type: string
  index?: string | number
  change: { actions: string[]; before?: unknown; after?: unknown; importing?: unknown; after_unknown?: unknown }
}

const REPLACE = ['delete', 'create']
const ec2 = { Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } }
const document = (...statements: object[]) => JSON.stringify({ Version: '2012-10-17', Statement: statements })
const allow = (Action: unknown, Resource: unknown, more: object = {}) => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...more,
})
const arn = (path: string) => `arn:aws:s3:::bucket${path}`
const read = (id: string) => allow('s3:GetObject', [arn(`/bootstrap/${id}/*`), arn(`/active/${id}.json`)])
const listing = (id: string, prefixes: string[] = [`bootstrap/${id}/*`, `active/${id}.json`]) =>
  allow('s3:ListBucket', arn(''), { Condition: { StringLike: { 's3:prefix': prefixes } } })
const write = (id: string) => allow('s3:PutObject', arn(`/heartbeats/${id}/*`))
const key = (via: string) =>
  allow(['kms:Decrypt', 'kms:GenerateDataKey'], 'arn:aws:kms:eu-central-1:1:key/1', {
    Condition: { StringEquals: { 'kms:ViaService': via } },
  })

/** What the stack has at this address. */
function content(type: string, index: unknown): object | undefined {
  const [id = '', slot = 'a'] = String(index).split('/')
  if (type === 'aws_instance') return { tags: { 'clawdinator:id': id, 'clawdinator:slot': slot } }
  if (type === 'aws_iam_role') return { assume_role_policy: document({ Sid: 'Instance', ...ec2 }) }
  if (type === 'aws_iam_role_policy') {
    return { policy: document(read(id), listing(id), write(id), key('s3.eu-central-1.amazonaws.com')) }
  }
  return type === 'aws_security_group' ? { ingress: [], egress: [{ protocol: '-1' }] } : undefined
}

function change(type: string, index: string | number | undefined, actions: string[], more: object = {}): Planned {
  const bracket = index === undefined ? '' : `[${JSON.stringify(index)}]`
  const after = content(type, index)
  const planned = { actions, ...(after ? { before: after, after } : {}), ...more }
  const own = index === undefined ? {} : { index }
  return { address: `${type}.clawdinator${bracket}`, mode: 'managed', type, ...own, change: planned }
}
const instance = (id: string, actions: string[], more: object = {}) => change('aws_instance', id, actions, more)
const plan = (...changes: unknown[]) => ({
  format_version: '1.2',
  variables: { bucket: { value: 'bucket' } },
  resource_changes: changes,
})

/** a and b are in the state, each in slot a; c has lost its machine. */
const STATE = machinesInState(
  ['a', 'b', 'c'].flatMap((id) => [
    { address: instanceAddress(id), id: `i-${id}`, tags: { 'clawdinator:bootstrap-prefix': `bootstrap/${id}` } },
    ...ID_TYPES.map((type) => ({ address: `${type}.clawdinator["${id}"]`, id })),
  ]),
)
const CREATE: Change = { kind: 'create', id: 'a', slot: 'b' }
const created = instance('a/b', ['create'])

interface Wanted {
  change?: Change
  scope?: string[]
  adopt?: Partial<typeof NO_ADOPTION>
}
function guard(json: unknown, { change = CREATE, scope = ['a'], adopt = {} }: Wanted = {}) {
  const prefixes = { a: 'bootstrap/a', b: 'bootstrap/b' }
  const facts = { state: STATE, gone: new Set(['i-c']), adopt: { ...NO_ADOPTION, ...adopt }, prefixes }
  return guardPlan(json, expectPlan({ change, scope, ...facts }))
}
const refusal = (json: unknown, wanted: Wanted = {}) => thrown(() => guard(json, wanted))
const destroy: Wanted = { change: { kind: 'destroy', id: 'a', slot: 'a' } }
const replace: Wanted = { change: { kind: 'replace', id: 'a', slot: 'a' } }
const retire: Wanted = { change: { kind: 'retire', id: 'a' }, scope: [] }

describe('guardPlan', () => {
  it('accepts one machine more, and says what it will do without the no-ops', () => {
    const { lines, changes } = guard(
      plan(
        created,
        instance('a', ['no-op']),
        change('aws_iam_role', 'a', ['update']),
        change('aws_ami', undefined, ['read']),
      ),
    )
    expect(lines).to.deep.equal(['create aws_instance.clawdinator["a/b"]', 'update aws_iam_role.clawdinator["a"]'])
    expect(changes.map(({ action }) => action)).to.deep.equal(['create', 'no-op', 'update', 'read'])
  })

  it('accepts one machine less, and one in the place of another', () => {
    expect(guard(plan(instance('a', ['delete']), instance('a/b', ['no-op'])), destroy).lines).to.have.length(1)
    expect(guard(plan(instance('a', REPLACE)), replace).lines).to.have.length(1)
    expect(guard(plan(instance('a', ['create', 'delete'])), replace).lines).to.have.length(1)
    expect(guard(plan(instance('a', ['create'])), replace).lines).to.have.length(1)
  })

  const beside: [why: string, change: Planned, wanted?: Wanted][] = [
    ['a neighbour that does not change', instance('b', ['no-op'])],
    ['a data source', { ...change('aws_ami', undefined, ['read']), mode: 'data' }],
    ['a role of its own that is new', change('aws_iam_role', 'a', ['create'])],
    ['a policy of its own that changes', change('aws_iam_role_policy', 'a', ['update'])],
    ['a profile of its own that is new', change('aws_iam_instance_profile', 'a', ['create'])],
    ['the shared group, new', change('aws_security_group', undefined, ['create'])],
    ['the shared group, changed in place', change('aws_security_group', undefined, ['update'])],
    ['a role of another id that the request names', change('aws_iam_role', 'b', ['create']), { scope: ['a', 'b'] }],
    [
      'a policy of another id that the request names',
      change('aws_iam_role_policy', 'b', ['update']),
      { scope: ['a', 'b'] },
    ],
    ['the end of a machine in the state that EC2 has lost', instance('c', ['delete'])],
  ]
  for (const [why, also, wanted] of beside) {
    it(`lets pass beside it: ${why}`, () => expect(guard(plan(created, also), wanted).changes).to.have.length(2))
  }

  const offences: [why: string, change: Planned, wanted?: Wanted][] = [
    ['a neighbour replaced', instance('b', REPLACE)],
    ['a neighbour replaced, new one first', instance('b', ['create', 'delete'])],
    ['a neighbour deleted', instance('b', ['delete'])],
    ['a neighbour created in its other slot', instance('b/b', ['create'])],
    ['a neighbour created that the request names, too', instance('b/b', ['create']), { scope: ['a', 'b'] }],
    ['a neighbour updated', instance('b', ['update'])],
    ['a neighbour forgotten', instance('b', ['forget'])],
    ['a lost neighbour made again', instance('c', ['create'])],
    ['the machine that serves deleted', instance('a', ['delete'])],
    ['the machine that serves replaced', instance('a', REPLACE)],
    ['the machine that serves updated', instance('a', ['update'])],
    ['a neighbour moved', { ...instance('b', ['no-op']), previous_address: 'aws_instance.old' } as Planned],
    ['a deposed machine deleted', { ...instance('a/b', ['delete']), deposed: 'abcd1234' } as Planned],
    ['an instance without a key', change('aws_instance', undefined, ['create'])],
    ['an instance by number', change('aws_instance', 0, ['delete'])],
    ["another resource's instance", { ...instance('a/b', ['create']), address: 'aws_instance.other["a/b"]' }],
    ["a module's instance", { ...created, address: `module.m.${created.address}` }],
    ['a shared resource deleted', change('aws_s3_bucket', undefined, ['delete'])],
    ['the shared group deleted', change('aws_security_group', undefined, ['delete'])],
    ['the shared group replaced', change('aws_security_group', undefined, REPLACE)],
    ['a group of an id created', change('aws_security_group', 'a', ['create'])],
    ['a role of its own deleted', change('aws_iam_role', 'a', ['delete'])],
    ['a role of its own replaced, which the machine that serves has', change('aws_iam_role', 'a', REPLACE)],
    ["a neighbour's role deleted", change('aws_iam_role', 'b', ['delete'])],
    [
      "a neighbour's role deleted that the request names",
      change('aws_iam_role', 'b', ['delete']),
      { scope: ['a', 'b'] },
    ],
    ["a neighbour's role replaced that the request names", change('aws_iam_role', 'b', REPLACE), { scope: ['a', 'b'] }],
    ["a neighbour's role created", change('aws_iam_role', 'b', ['create'])],
    ["a neighbour's policy updated", change('aws_iam_role_policy', 'b', ['update'])],
    ["a neighbour's tags updated", change('aws_iam_instance_profile', 'b', ['update'])],
    ["a lost neighbour's role deleted", change('aws_iam_role', 'c', ['delete'])],
    ['a shared resource of another kind updated', change('aws_s3_bucket_policy', undefined, ['update'])],
    ['a shared resource of another kind created', change('aws_lambda_function', undefined, ['create'])],
    ['a table by number deleted', change('aws_dynamodb_table', 0, ['delete'])],
    ['a role forgotten', change('aws_iam_role', 'a', ['forget'])],
    ['a role created and forgotten', change('aws_iam_role', 'a', ['create', 'forget'])],
    ['an action nobody knows', change('aws_iam_role', 'a', ['teleport'])],
    ['no action at all', change('aws_iam_role', 'a', [])],
    ['a known action twice', change('aws_iam_role', 'a', ['update', 'update'])],
    ['a data source that is deleted', { ...change('aws_ami', undefined, ['delete']), mode: 'data' }],
    ['a mode nobody knows', { ...change('aws_iam_role', 'a', ['update']), mode: 'ephemeral' }],
    ['something imported', change('aws_iam_role', 'a', ['no-op'], { importing: { id: 'a' } })],
  ]
  for (const [why, also, wanted] of offences) {
    it(`refuses the whole plan for ${why}, naming its address`, () => {
      const error = refusal(plan(created, instance('b', ['no-op']), also), wanted)
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.message).to.include(also.address)
      expect(error.partial).to.deep.equal({ addresses: [also.address] })
    })
  }

  it('names every offending address, and `deploy all` where a change concerns others, too', () => {
    const error = refusal(plan(instance('b', REPLACE), created, instance('c/b', ['delete'])))
    expect(error.partial).to.deep.equal({ addresses: [instanceAddress('b'), instanceAddress('c', 'b')] })
    expect(error.message).to.match(/create a in slot b would also replace .*\["b"\], delete .*\["c\/b"\]/)
    expect(error.hint).to.include('clawctl fleet recover')
    expect(refusal(plan(created, change('aws_iam_role_policy', 'b', ['update']))).hint).to.include('deploy all')
  })

  const missing: [why: string, changes: Planned[], wanted: Wanted][] = [
    ['nothing', [], {}],
    ['the machine that serves alone', [instance('a', ['no-op'])], {}],
    ['no more of it than a read', [instance('a/b', ['read'])], {}],
    ['a no-op where it is to be created', [instance('a/b', ['no-op'])], {}],
    ['a no-op where it is to be destroyed', [instance('a', ['no-op'])], destroy],
    ['a no-op where it is to be replaced', [instance('a', ['no-op'])], replace],
    ['nothing of what is to be retired', [instance('b', ['no-op'])], retire],
  ]
  for (const [why, changes, wanted] of missing) {
    it(`refuses a plan that holds ${why}: OpenTofu answers "No changes" to what it does not know`, () => {
      const error = refusal(plan(...changes), wanted)
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.message).to.include('but it does not')
      expect(error.partial?.addresses).to.include(instanceAddress('a', wanted.change ? 'a' : 'b'))
    })
  }

  it('demands nothing of a plan that is made for no machine, and lets it touch none', () => {
    const none: Wanted = { change: { kind: 'none' }, scope: ['a'] }
    expect(guard(plan(change('aws_iam_role', 'a', ['create'])), none).lines).to.have.length(1)
    expect(refusal(plan(created), none).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  it('lets a replacement, whose machine is gone meanwhile, replace its role as well', () => {
    expect(guard(plan(instance('a', REPLACE), change('aws_iam_role', 'a', REPLACE)), replace).lines).to.have.length(2)
    expect(refusal(plan(instance('a', REPLACE), change('aws_iam_role', 'b', REPLACE)), replace).code).to.equal(
      'PLAN_OUT_OF_SCOPE',
    )
  })

  const forms: [why: string, json: unknown][] = [
    ['nothing', undefined],
    ['null', null],
    ['a text', '{}'],
    ['no format', { resource_changes: [created] }],
    ['another major format', { ...plan(created), format_version: '2.0' }],
    ['a format like 10.0', { ...plan(created), format_version: '10.0' }],
    ['a plan that failed', { ...plan(created), errored: true }],
    ['changes that are no list', { format_version: '1.2', resource_changes: { 0: created } }],
    ['a change without a type', plan({ ...created, type: undefined })],
    ['a change without actions', plan({ ...created, change: {} })],
    ['actions that are no list', plan({ ...created, change: { actions: 'create' } })],
    ['an index that is an object', plan({ ...created, index: {} })],
  ]
  for (const [why, json] of forms) {
    it(`does not apply ${why}`, () => expect(refusal(json).code).to.equal('PLAN_FAILED'))
  }

  it('ignores what it need not know', () => {
    const json = { ...plan({ ...created, provider_name: 'x' }), applyable: true, output_changes: {} }
    expect(guard(json).changes).to.have.length(1)
  })

  it('shows what a plan would change to who only looks', () => {
    expect(
      plannedChanges(plan(created, instance('b', ['no-op']), change('aws_ami', undefined, ['read']))),
    ).to.deep.equal([{ address: created.address, action: 'create' }])
  })
})

describe('guardPlan of a retirement', () => {
  const end = ['aws_instance', ...ID_TYPES].map((type) => change(type, 'a', ['delete']))

  it('accepts the end of one id and of what belongs to it, in either slot', () => {
    const json = plan(...end, instance('a/b', ['delete']), instance('b', ['no-op']))
    expect(guard(json, retire).lines).to.have.length(5)
  })

  it('accepts what is left where EC2 has lost the machine', () => {
    expect(guard(plan(...end.slice(1)), retire).lines).to.have.length(3)
  })

  const offences: [why: string, change: Planned][] = [
    ["a neighbour's end", instance('b', ['delete'])],
    ["the end of a neighbour's role", change('aws_iam_role', 'b', ['delete'])],
    ['a neighbour created', instance('b/b', ['create'])],
    ['a replacement of the host itself', instance('a', REPLACE)],
    ['an update of its role', change('aws_iam_role', 'a', ['update'])],
    ['the shared group changed', change('aws_security_group', undefined, ['update'])],
    ['the shared group ended', change('aws_security_group', undefined, ['delete'])],
    ['something else of its key', change('aws_ebs_volume', 'a', ['delete'])],
    ['another instance of its key', { ...instance('a', ['delete']), address: 'aws_instance.other["a"]' }],
    ['the host forgotten', instance('a', ['forget'])],
  ]
  for (const [why, also] of offences) {
    it(`refuses beside it: ${why}`, () => {
      const error = refusal(plan(...end.slice(1), also), retire)
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.partial?.addresses).to.deep.equal([also.address])
    })
  }
})

describe('guardPlan of an adoption', () => {
  const adopt = {
    ...{ instances: { 'a/b': 'i-1' }, roles: { a: 'a' }, role_policies: { a: 'a:own' }, profiles: { a: 'a' } },
    security_group: 'sg-1',
  }
  const group = (id: string): Planned => ({
    address: 'aws_security_group.clawdinator',
    mode: 'managed',
    type: 'aws_security_group',
    change: { actions: ['no-op'], importing: { id } },
  })
  const imported = (type: string, index: string, id: unknown, actions = ['no-op'], more: object = {}) =>
    change(type, index, actions, { importing: { id }, ...more })
  const none: Wanted = { change: { kind: 'none' }, scope: ['a'], adopt }

  it('accepts the import of exactly what is adopted, and what has to change about it', () => {
    const { lines } = guard(
      plan(
        imported('aws_instance', 'a/b', 'i-1'),
        imported('aws_iam_role', 'a', 'a', ['update']),
        imported('aws_iam_role_policy', 'a', 'a:own'),
        imported('aws_iam_instance_profile', 'a', 'a'),
        group('sg-1'),
      ),
      none,
    )
    expect(lines).to.have.length(5).and.to.include('import aws_instance.clawdinator["a/b"]')
  })

  const offences: [why: string, change: Planned][] = [
    ['another machine', imported('aws_instance', 'a/b', 'i-2')],
    ['the machine at another address', imported('aws_instance', 'a', 'i-1')],
    [
      'the machine of another id by its tags',
      imported('aws_instance', 'a/b', 'i-1', ['no-op'], { before: content('aws_instance', 'b') }),
    ],
    [
      'the machine of another slot by its tags',
      imported('aws_instance', 'a/b', 'i-1', ['no-op'], { before: content('aws_instance', 'a') }),
    ],
    ['the machine, and its replacement', imported('aws_instance', 'a/b', 'i-1', REPLACE)],
    ['the machine, and a change of it', imported('aws_instance', 'a/b', 'i-1', ['update'])],
    ['another group', group('sg-2')],
    ["a neighbour's role", imported('aws_iam_role', 'b', 'b')],
    ['a role without saying which', imported('aws_iam_role', 'a', undefined)],
  ]
  it('refuses a machine that the state has at another address, too', () => {
    const there = change('aws_instance', 'b', ['no-op'], { before: { ...content('aws_instance', 'b'), id: 'i-1' } })
    const error = refusal(plan(there, imported('aws_instance', 'a/b', 'i-1')), none)
    expect(error.message).to.include('have i-1 as aws_instance.clawdinator["a/b"] and as aws_instance.clawdinator["b"]')
  })

  for (const [why, also] of offences) {
    it(`refuses the import of ${why}`, () => {
      expect(refusal(plan(also), none).partial?.addresses).to.include(also.address)
    })
  }

  it('takes a machine without a slot for one of slot a', () => {
    const old = { before: { tags: { 'clawdinator:id': 'a' } } }
    const own: Wanted = { ...none, adopt: { ...adopt, instances: { a: 'i-1' } } }
    expect(guard(plan(imported('aws_instance', 'a', 'i-1', ['no-op'], old)), own).lines).to.have.length(1)
  })
})

describe('guardPlan looks into what a plan brings along', () => {
  const withPolicy = (...statements: object[]) =>
    plan(created, change('aws_iam_role_policy', 'a', ['update'], { after: { policy: document(...statements) } }))
  const withTrust = (after: object, more: object = {}) =>
    plan(created, change('aws_iam_role', 'a', ['create'], { after, ...more }))
  const trust = (...statements: object[]) => ({ assume_role_policy: document(...statements) })

  const good: [why: string, json: object][] = [
    ["the stack's own policy", withPolicy(read('a'), listing('a'), write('a'), key('s3.eu-central-1.amazonaws.com'))],
    ['less than that', withPolicy(write('a'))],
    ['a list of one', withPolicy(allow(['s3:PutObject'], [arn('/heartbeats/a/*')]))],
    ['a prefix that it was launched with', withPolicy(read('a'))],
    ["EC2's trust", withTrust(trust({ ...ec2, Action: ['sts:AssumeRole'] }))],
    [
      'lists that are computed',
      withTrust({ ...trust(ec2), inline_policy: null }, { after_unknown: { managed_policy_arns: true } }),
    ],
    [
      'the same boundary',
      withTrust({ ...trust(ec2), permissions_boundary: 'b' }, { before: { permissions_boundary: 'b' } }),
    ],
    ['a boundary where there was none', withTrust({ ...trust(ec2), permissions_boundary: 'b' })],
    [
      'a module without provisioners',
      { ...plan(created), configuration: { root_module: { resources: [{ address: 'x' }] } } },
    ],
  ]
  for (const [why, json] of good) it(`accepts ${why}`, () => expect(guard(json).lines).to.not.equal(undefined))

  const policies: [why: string, ...statements: object[]][] = [
    ['everything', allow('*', '*')],
    ['every bundle', allow('s3:GetObject', arn('/bootstrap/*'))],
    ["a neighbour's bundle", read('b')],
    ['the bundle of an id that begins so', allow('s3:GetObject', arn('/bootstrap/a*'))],
    ['the right to write its bundle', allow('s3:PutObject', arn('/bootstrap/a/*'))],
    ['the right to say who acts', allow('s3:PutObject', arn('/active/a.json'))],
    ["a neighbour's heartbeats", write('b')],
    ['another bucket', allow('s3:PutObject', 'arn:aws:s3:::other/heartbeats/a/*')],
    ['the whole list', allow('s3:ListBucket', arn(''))],
    ['a list of more', listing('a', ['bootstrap/*'])],
    ['a list of nothing said', listing('a', [])],
    [
      'a list of an object',
      allow('s3:ListBucket', arn('/x'), { Condition: { StringLike: { 's3:prefix': 'bootstrap/a/*' } } }),
    ],
    ['what is not named', { Effect: 'Allow', NotAction: 's3:GetObject', Resource: '*' }],
    ['any resource but one', { Effect: 'Allow', Action: 's3:GetObject', NotResource: arn('/x') }],
    ['another role', allow('sts:AssumeRole', '*')],
    ['one more action', allow(['s3:PutObject', 's3:DeleteObject'], arn('/heartbeats/a/*'))],
    ['one more resource', allow('s3:PutObject', [arn('/heartbeats/a/*'), arn('/deploys/*')])],
    ['a key without S3', key('ec2.eu-central-1.amazonaws.com')],
    ['a key without a condition', allow('kms:Decrypt', '*')],
    ['one more statement', read('a'), allow('ec2:*', '*')],
  ]
  for (const [why, ...statements] of policies) {
    it(`refuses a role policy that gives ${why}`, () => {
      const error = refusal(withPolicy(...statements))
      expect(error.message).to.include('widen a role policy (aws_iam_role_policy.clawdinator["a"])')
      expect(error.partial?.addresses).to.deep.equal(['aws_iam_role_policy.clawdinator["a"]'])
    })
  }

  it('refuses a policy that it can not read', () => {
    for (const after of [{}, { policy: '{' }, { policy: '{}' }, null]) {
      expect(refusal(plan(created, change('aws_iam_role_policy', 'a', ['update'], { after }))).message).to.include(
        'widen',
      )
    }
  })

  it('looks at the bucket that the plan names, and takes any one where it names none', () => {
    const json = { ...withPolicy(write('a')), variables: { bucket: { value: 'other' } } }
    expect(refusal(json).message).to.include('widen')
    expect(guard({ ...withPolicy(write('a')), variables: undefined }).lines).to.have.length(2)
  })

  const trusts: [why: string, after: object, more?: object][] = [
    ['everybody', trust({ ...ec2, Principal: '*' })],
    ['an account', trust({ ...ec2, Principal: { AWS: 'arn:aws:iam::1:root' } })],
    ['another service', trust({ ...ec2, Principal: { Service: 'lambda.amazonaws.com' } })],
    ['EC2 and more', trust({ ...ec2, Principal: { Service: 'ec2.amazonaws.com', AWS: '*' } })],
    ['two services', trust({ ...ec2, Principal: { Service: ['ec2.amazonaws.com', 'x'] } })],
    ['one more statement', trust(ec2, { ...ec2, Principal: '*' })],
    ['another action', trust({ ...ec2, Action: 'sts:*' })],
    ['nothing that can be read', { assume_role_policy: undefined }],
    [
      'a policy beside its own',
      { ...trust(ec2), managed_policy_arns: ['arn:aws:iam::aws:policy/AdministratorAccess'] },
    ],
    ['a policy within', { ...trust(ec2), inline_policy: [{ name: 'x', policy: '{}' }] }],
    ['itself without its boundary', trust(ec2), { before: { permissions_boundary: 'b' } }],
    [
      'itself with another boundary',
      { ...trust(ec2), permissions_boundary: 'c' },
      { before: { permissions_boundary: 'b' } },
    ],
  ]
  for (const [why, after, more] of trusts) {
    it(`refuses a role that trusts or gives ${why}`, () => {
      expect(refusal(withTrust(after, more)).message).to.include('widen who may take a role')
    })
  }

  it('refuses an opened ingress, in the group or as a rule of its own', () => {
    const group = (ingress: unknown) => change('aws_security_group', undefined, ['update'], { after: { ingress } })
    const error = refusal(plan(created, group([{ from_port: 22 }])))
    expect(error.message).to.include('open ingress (aws_security_group.clawdinator)')
    expect(refusal(plan(created, group('0.0.0.0/0'))).message).to.include('open ingress')
    expect(guard(plan(created, group(null))).lines).to.have.length(2)
    const rule = change('aws_vpc_security_group_ingress_rule', undefined, ['create'])
    expect(refusal(plan(created, rule)).message).to.include('open ingress')
    const old = (type: string) => change('aws_security_group_rule', undefined, ['create'], { after: { type } })
    expect(refusal(plan(created, old('ingress'))).message).to.include('open ingress')
    expect(refusal(plan(created, old('egress'))).message).to.not.include('open ingress')
  })

  it('refuses a machine that bears the name of another', () => {
    const json = plan(instance('a/b', ['create'], { after: content('aws_instance', 'b') }))
    expect(refusal(json).message).to.include('have a machine with the tags of b')
    expect(refusal(plan(instance('a/b', ['create'], { after: {} }))).message).to.include('have a machine')
  })

  it('refuses provisioners, whatever they hang on', () => {
    const resource = { address: 'terraform_data.x', provisioners: [{ type: 'local-exec' }] }
    const root = { ...plan(created), configuration: { root_module: { resources: [resource] } } }
    expect(refusal(root).message).to.include('run a provisioner of terraform_data.x')
    const module = { root_module: { module_calls: { m: { module: { resources: [resource] } } } } }
    expect(refusal({ ...plan(created), configuration: module }).message).to.include('module.m.terraform_data.x')
    const none = { root_module: { resources: [{ address: 'x', provisioners: [] }], module_calls: { m: {} } } }
    expect(guard({ ...plan(created), configuration: none }).lines).to.have.length(1)
    expect(refusal({ ...plan(created), configuration: { root_module: 3 } }).code).to.equal('PLAN_OUT_OF_SCOPE')
  })
})

describe('guardPlan, whatever the plan', () => {
  const actions = fc.constantFrom<string[]>(
    ['no-op'],
    ['read'],
    ['create'],
    ['update'],
    ['delete'],
    ['delete', 'create'],
    ['create', 'delete'],
    ['forget'],
    ['create', 'forget'],
    ['x'],
  )
  const generated = fc
    .record({
      type: fc.constantFrom('aws_instance', 'aws_instance', 'aws_iam_role', 'aws_s3_bucket'),
      index: fc.constantFrom('a', 'a/b', 'b', 'b/b', 'c', '__proto__', 0, undefined),
      actions,
      mode: fc.constantFrom('managed', 'managed', 'managed', 'data'),
      module: fc.constantFrom('', '', '', 'module.m.'),
      moved: fc.constantFrom(false, false, true),
    })
    .map(({ type, index, actions, mode, module, moved }) => {
      const made = change(type, index, actions)
      const from = moved ? { previous_address: 'aws_instance.x' } : {}
      return { ...made, ...from, mode, address: module + made.address }
    })
  const wanted = fc.constantFrom<Wanted>({}, destroy, replace, { scope: ['a', 'b'] })

  it('never lets it touch a machine but the one of its change and those that EC2 has lost', () => {
    let accepted = 0
    const check = (changes: readonly Planned[], how: Wanted) => {
      try {
        guard(plan(...changes), how)
      } catch (error) {
        expect((error as ClawctlError).code).to.equal('PLAN_OUT_OF_SCOPE')
        return
      }
      accepted += 1
      const own = how.change ? instanceAddress('a') : created.address
      for (const { address, change } of changes.filter((one) => one.type === 'aws_instance')) {
        if (/^(?:no-op|read)$/.test(change.actions.join())) continue
        expect([own, instanceAddress('c')]).to.include(address)
        if (address !== own) expect(change.actions).to.deep.equal(['delete'])
      }
    }
    const some = fc.tuple(
      fc.uniqueArray(generated, { maxLength: 3, selector: (one) => one.address }),
      fc.boolean(),
      actions,
    )
    fc.assert(
      fc.property(some, wanted, ([changes, present, how], how2) => {
        const own = how2.change ? 'a' : 'a/b'
        const others = changes.filter((one) => one.address !== instanceAddress('a') && one.address !== created.address)
        check(present ? [instance(own, how), ...others] : changes, how2)
      }),
      { numRuns: 2000 },
    )
    expect(accepted, 'plans that were accepted').to.be.above(20)
  })
})
