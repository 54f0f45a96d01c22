import { expect } from 'chai'
import { ID_TYPES } from '../../../src/lib/domain/deploy/slots.js'
import {
  change,
  content,
  guard,
  instance,
  type Planned,
  plan,
  REPLACE,
  refusal,
  retire,
  type Wanted,
} from '../../support/plans.js'

describe('guardPlan of a retirement', () => {
  const end = ['aws_instance', ...ID_TYPES].map((type) => change(type, 'a', ['delete']))

  it('accepts the destruction of one id and its objects, in either slot', () => {
    const json = plan(...end, instance('a/b', ['delete']), instance('b', ['no-op']))
    expect(guard(json, retire).lines).to.have.length(5)
  })

  it('accepts the remaining objects if the machine no longer exists in EC2', () => {
    expect(guard(plan(...end.slice(1)), retire).lines).to.have.length(3)
  })

  const offences: [why: string, change: Planned][] = [
    ['the destruction of another machine', instance('b', ['delete'])],
    ["the destruction of another id's role", change('aws_iam_role', 'b', ['delete'])],
    ['the creation of another machine', instance('b/b', ['create'])],
    ['a replacement of the machine itself', instance('a', REPLACE)],
    ['an update of its role', change('aws_iam_role', 'a', ['update'])],
    ['an update of the shared group', change('aws_security_group', undefined, ['update'])],
    ['the destruction of the shared group', change('aws_security_group', undefined, ['delete'])],
    ['another resource with its key', change('aws_ebs_volume', 'a', ['delete'])],
    ['another instance with its key', { ...instance('a', ['delete']), address: 'aws_instance.other["a"]' }],
    ['the removal of the machine from the state', instance('a', ['forget'])],
  ]
  for (const [why, also] of offences) {
    it(`refuses in addition: ${why}`, () => {
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

  it('accepts the import of exactly the adopted objects, and their corrections', () => {
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
    ["another id's role", imported('aws_iam_role', 'b', 'b')],
    ['a role without saying which', imported('aws_iam_role', 'a', undefined)],
  ]
  it('refuses a machine that the state also has at another address', () => {
    const there = change('aws_instance', 'b', ['no-op'], { before: { ...content('aws_instance', 'b'), id: 'i-1' } })
    const error = refusal(plan(there, imported('aws_instance', 'a/b', 'i-1')), none)
    expect(error.message).to.include('have i-1 as aws_instance.clawdinator["a/b"] and as aws_instance.clawdinator["b"]')
  })

  for (const [why, also] of offences) {
    it(`refuses the import of ${why}`, () => {
      expect(refusal(plan(also), none).partial?.addresses).to.include(also.address)
    })
  }

  it('treats a machine without a slot as one of slot a', () => {
    const old = { before: { tags: { 'clawdinator:id': 'a' } } }
    const own: Wanted = { ...none, adopt: { ...adopt, instances: { a: 'i-1' } } }
    expect(guard(plan(imported('aws_instance', 'a', 'i-1', ['no-op'], old)), own).lines).to.have.length(1)
  })
})
