import { expect } from 'chai'
import fc from 'fast-check'
import { plannedChanges } from '../../../src/lib/domain/deploy/planGuard.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import type { ClawctlError } from '../../../src/lib/domain/errors.js'
import {
  change,
  created,
  destroy,
  guard,
  instance,
  type Planned,
  plan,
  REPLACE,
  refusal,
  replace,
  retire,
  type Wanted,
} from '../../support/plans.js'

describe('guardPlan', () => {
  it('accepts one additional machine, and lists the changes without the no-ops', () => {
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

  it('accepts the removal and the replacement of one machine', () => {
    expect(guard(plan(instance('a', ['delete']), instance('a/b', ['no-op'])), destroy).lines).to.have.length(1)
    expect(guard(plan(instance('a', REPLACE)), replace).lines).to.have.length(1)
    expect(guard(plan(instance('a', ['create', 'delete'])), replace).lines).to.have.length(1)
    expect(guard(plan(instance('a', ['create'])), replace).lines).to.have.length(1)
  })

  const beside: [why: string, change: Planned, wanted?: Wanted][] = [
    ['another machine without a change', instance('b', ['no-op'])],
    ['a data source', { ...change('aws_ami', undefined, ['read']), mode: 'data' }],
    ['an unchanged data source', { ...change('aws_ami', undefined, ['no-op']), mode: 'data' }],
    ['its own new role', change('aws_iam_role', 'a', ['create'])],
    ['a change of its own policy', change('aws_iam_role_policy', 'a', ['update'])],
    ['its own new profile', change('aws_iam_instance_profile', 'a', ['create'])],
    ['the new shared group', change('aws_security_group', undefined, ['create'])],
    ['an in-place change of the shared group', change('aws_security_group', undefined, ['update'])],
    ['a role of another id that the request names', change('aws_iam_role', 'b', ['create']), { scope: ['a', 'b'] }],
    [
      'a policy of another id that the request names',
      change('aws_iam_role_policy', 'b', ['update']),
      { scope: ['a', 'b'] },
    ],
    ['the removal of a machine that no longer exists in EC2', instance('c', ['delete'])],
  ]
  for (const [why, also, wanted] of beside) {
    it(`accepts in addition: ${why}`, () => expect(guard(plan(created, also), wanted).changes).to.have.length(2))
  }

  const offences: [why: string, change: Planned, wanted?: Wanted][] = [
    ['the replacement of another machine', instance('b', REPLACE)],
    ['the replacement of another machine, create before destroy', instance('b', ['create', 'delete'])],
    ['the deletion of another machine', instance('b', ['delete'])],
    ['the creation of another machine in its other slot', instance('b/b', ['create'])],
    [
      'the creation of another machine, although the request names it',
      instance('b/b', ['create']),
      { scope: ['a', 'b'] },
    ],
    ['the update of another machine', instance('b', ['update'])],
    ['the removal of another machine from the state', instance('b', ['forget'])],
    ['the creation of a lost machine', instance('c', ['create'])],
    ['the deletion of the serving machine', instance('a', ['delete'])],
    ['the replacement of the serving machine', instance('a', REPLACE)],
    ['the update of the serving machine', instance('a', ['update'])],
    ['a moved machine', { ...instance('b', ['no-op']), previous_address: 'aws_instance.old' } as Planned],
    [
      'its own role, moved and changed',
      { ...change('aws_iam_role', 'a', ['update']), previous_address: 'aws_iam_role.old' } as Planned,
    ],
    ['the deletion of a deposed machine', { ...instance('a/b', ['delete']), deposed: 'abcd1234' } as Planned],
    ['an instance without a key', change('aws_instance', undefined, ['create'])],
    ['an instance with a number as its key', change('aws_instance', 0, ['delete'])],
    ['an instance of another resource', { ...instance('a/b', ['create']), address: 'aws_instance.other["a/b"]' }],
    ['an instance of a module', { ...created, address: `module.m.${created.address}` }],
    ['the deletion of a shared resource', change('aws_s3_bucket', undefined, ['delete'])],
    ['the deletion of the shared group', change('aws_security_group', undefined, ['delete'])],
    ['the replacement of the shared group', change('aws_security_group', undefined, REPLACE)],
    ['the creation of a group for an id', change('aws_security_group', 'a', ['create'])],
    ['the deletion of its own role', change('aws_iam_role', 'a', ['delete'])],
    ['the replacement of its own role, which the serving machine uses', change('aws_iam_role', 'a', REPLACE)],
    ["the deletion of another id's role", change('aws_iam_role', 'b', ['delete'])],
    [
      'the deletion of another role that the request names',
      change('aws_iam_role', 'b', ['delete']),
      { scope: ['a', 'b'] },
    ],
    [
      'the replacement of another role that the request names',
      change('aws_iam_role', 'b', REPLACE),
      { scope: ['a', 'b'] },
    ],
    ["the creation of another id's role", change('aws_iam_role', 'b', ['create'])],
    ["the update of another id's policy", change('aws_iam_role_policy', 'b', ['update'])],
    ["the update of another machine's tags", change('aws_iam_instance_profile', 'b', ['update'])],
    ["the deletion of a lost machine's role", change('aws_iam_role', 'c', ['delete'])],
    ['the update of another kind of shared resource', change('aws_s3_bucket_policy', undefined, ['update'])],
    ['the creation of another kind of shared resource', change('aws_lambda_function', undefined, ['create'])],
    ['the deletion of a table with a number as its key', change('aws_dynamodb_table', 0, ['delete'])],
    ['the removal of a role from the state', change('aws_iam_role', 'a', ['forget'])],
    ['the creation and removal of a role', change('aws_iam_role', 'a', ['create', 'forget'])],
    ['an unknown action', change('aws_iam_role', 'a', ['teleport'])],
    ['no action', change('aws_iam_role', 'a', [])],
    ['a repeated action', change('aws_iam_role', 'a', ['update', 'update'])],
    ['the deletion of a data source', { ...change('aws_ami', undefined, ['delete']), mode: 'data' }],
    ['an unknown mode', { ...change('aws_iam_role', 'a', ['update']), mode: 'ephemeral' }],
    ['an import', change('aws_iam_role', 'a', ['no-op'], { importing: { id: 'a' } })],
  ]
  for (const [why, also, wanted] of offences) {
    it(`refuses the whole plan for ${why}, and names its address`, () => {
      const error = refusal(plan(created, instance('b', ['no-op']), also), wanted)
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.message).to.include(also.address)
      expect(error.partial).to.deep.equal({ addresses: [also.address] })
    })
  }

  it('names every offending address, and `deploy all` if other hosts change too', () => {
    const error = refusal(plan(instance('b', REPLACE), created, instance('c/b', ['delete'])))
    expect(error.partial).to.deep.equal({ addresses: [instanceAddress('b'), instanceAddress('c', 'b')] })
    expect(error.message).to.match(/create a in slot b would also replace .*\["b"\], delete .*\["c\/b"\]/)
    expect(error.hint).to.include('clawctl fleet recover')
    expect(refusal(plan(created, change('aws_iam_role_policy', 'b', ['update']))).hint).to.include('deploy all')
  })

  it('names unknown changes and removals in their own words', () => {
    const says = (...actions: string[]) => refusal(plan(created, change('aws_iam_role', 'a', actions))).message
    const forget = 'would also forget aws_iam_role.clawdinator["a"]'
    expect(says('forget')).to.include(forget)
    expect(says('create', 'forget')).to.include(forget)
    expect(says('forget', 'create')).to.include(forget)
    expect(says('teleport')).to.include('would also unknown aws_iam_role.clawdinator["a"]')
  })

  it('suggests `deploy all` if one of several changes concerns others, but not for an allowed change', () => {
    const updated = change('aws_iam_role_policy', 'b', ['update'])
    expect(refusal(plan(created, instance('b', REPLACE), updated)).hint).to.include('deploy all')
    expect(refusal(plan(created, instance('b', REPLACE), change('aws_iam_role', 'a', ['update']))).hint).to.include(
      'fleet recover',
    )
  })

  it('refuses to destroy a deposed machine at the address of the destroyed one', () => {
    const deposed = { ...instance('a', ['delete']), deposed: 'abcd1234' }
    expect(refusal(plan(instance('a', ['delete']), deposed), destroy).message).to.include(`delete ${deposed.address}`)
  })

  it('accepts a data source that reads a machine of the state', () => {
    const before = { id: 'i-b' }
    const read = { ...change('aws_instance', 'x', ['read'], { before }), mode: 'data' }
    expect(guard(plan(created, instance('b', ['no-op'], { before }), read)).lines).to.have.length(1)
  })

  it('accepts a plan without resources if no change is required', () => {
    const empty = { format_version: '1.2' }
    expect(guard(empty, { change: { kind: 'none' } })).to.deep.equal({ changes: [], lines: [] })
    expect(plannedChanges(empty)).to.deep.equal([])
  })

  const missing: [why: string, changes: Planned[], wanted: Wanted][] = [
    ['nothing', [], {}],
    ['only the serving machine', [instance('a', ['no-op'])], {}],
    ['only a read of it', [instance('a/b', ['read'])], {}],
    ['a no-op instead of its creation', [instance('a/b', ['no-op'])], {}],
    ['a no-op instead of its destruction', [instance('a', ['no-op'])], destroy],
    ['a no-op instead of its replacement', [instance('a', ['no-op'])], replace],
    ['nothing of the retired id', [instance('b', ['no-op'])], retire],
  ]
  for (const [why, changes, wanted] of missing) {
    it(`refuses a plan with ${why} instead of the required change`, () => {
      const error = refusal(plan(...changes), wanted)
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.message).to.include('but it does not')
      expect(error.partial?.addresses).to.include(instanceAddress('a', wanted.change ? 'a' : 'b'))
    })
  }

  it('requires no change in a plan for no machine, and allows no machine to change', () => {
    const none: Wanted = { change: { kind: 'none' }, scope: ['a'] }
    expect(guard(plan(change('aws_iam_role', 'a', ['create'])), none).lines).to.have.length(1)
    expect(refusal(plan(created), none).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  it('allows a replacement to replace the role too, if its machine is gone', () => {
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
    ['a format like 2.1.0', { ...plan(created), format_version: '2.1.0' }],
    ['a format like 10.0', { ...plan(created), format_version: '10.0' }],
    ['a failed plan', { ...plan(created), errored: true }],
    ['changes that are not a list', { format_version: '1.2', resource_changes: { 0: created } }],
    ['a change without a type', plan({ ...created, type: undefined })],
    ['a change without actions', plan({ ...created, change: {} })],
    ['actions that are not a list', plan({ ...created, change: { actions: 'create' } })],
    ['an index that is an object', plan({ ...created, index: {} })],
  ]
  for (const [why, json] of forms) {
    it(`refuses to apply ${why}`, () => expect(refusal(json).code).to.equal('PLAN_FAILED'))
  }

  it('ignores fields of the plan that it does not need', () => {
    const json = { ...plan({ ...created, provider_name: 'x' }), applyable: true, output_changes: {} }
    expect(guard(json).changes).to.have.length(1)
  })

  it('lists the changes of a plan for reports', () => {
    expect(
      plannedChanges(plan(created, instance('b', ['no-op']), change('aws_ami', undefined, ['read']))),
    ).to.deep.equal([{ address: created.address, action: 'create' }])
  })
})

describe('guardPlan with any plan', () => {
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

  it('never allows a change of another machine that still exists', () => {
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
