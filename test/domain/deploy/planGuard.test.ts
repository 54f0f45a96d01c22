import { expect } from 'chai'
import fc from 'fast-check'
import { guardPlan, instanceAddress } from '../../../src/lib/domain/deploy/planGuard.js'
import type { ClawctlError } from '../../../src/lib/domain/errors.js'
import { thrown } from '../../support/fakes.js'

type Change = {
  address: string
  mode: string
  type: string
  index?: string | number
  change: { actions: string[]; importing?: object }
}

const REPLACE = ['delete', 'create']
function change(type: string, index: string | number | undefined, actions: string[], more: object = {}): Change {
  const key = index === undefined ? '' : `[${JSON.stringify(index)}]`
  const address = `${type}.clawdinator${key}`
  return { address, mode: 'managed', type, ...(index === undefined ? {} : { index }), change: { actions }, ...more }
}
const instance = (id: string, actions: string[], more: object = {}) => change('aws_instance', id, actions, more)
const own = instance('a', REPLACE)
const plan = (...changes: unknown[]) => ({ format_version: '1.2', resource_changes: changes })
const guard = (json: unknown, action: 'create' | 'replace' = 'replace') => guardPlan(json, { id: 'a', action })
const refusal = (json: unknown, action: 'create' | 'replace' = 'replace') => thrown(() => guard(json, action))

describe('guardPlan', () => {
  it('accepts the replacement of the named host, and says what it will do without the no-ops', () => {
    const summary = guard(
      plan(
        own,
        instance('b', ['no-op']),
        change('aws_iam_role', 'a', ['update']),
        change('aws_ami', undefined, ['read']),
      ),
    )
    expect(summary.lines).to.deep.equal([`replace ${instanceAddress('a')}`, 'update aws_iam_role.clawdinator["a"]'])
    expect(summary.changes.map((c) => c.action)).to.deep.equal(['replace', 'no-op', 'update', 'read'])
  })

  const beside: [why: string, change: Change][] = [
    ['a neighbour that does not change', instance('b', ['no-op'])],
    ['a data source', change('aws_ami', undefined, ['read'], { mode: 'data' })],
    ['a role of its own', change('aws_iam_role', 'a', ['create'])],
    ['a replaced profile of its own', change('aws_iam_instance_profile', 'a', REPLACE)],
    ['something shared that is new', change('aws_security_group', undefined, ['create'])],
    ['a shared group that changes in place', change('aws_security_group', undefined, ['update'])],
    ['a policy of its own that changes', change('aws_iam_role_policy', 'a', ['update'])],
  ]
  for (const [why, also] of beside) {
    it(`lets pass beside it: ${why}`, () => expect(guard(plan(own, also)).changes).to.have.length(2))
  }

  const offences: [why: string, change: Change][] = [
    ['a neighbour replaced', instance('b', REPLACE)],
    ['a neighbour replaced, new one first', instance('b', ['create', 'delete'])],
    ['a neighbour deleted', instance('b', ['delete'])],
    ['a neighbour created', instance('b', ['create'])],
    ['a neighbour updated', instance('b', ['update'])],
    ['a neighbour forgotten', instance('b', ['forget'])],
    ['a neighbour moved', instance('b', ['no-op'], { previous_address: 'aws_instance.old' })],
    ["a neighbour moved into the host's address", instance('c', ['no-op'], { previous_address: own.address })],
    ['a deposed instance of the host deleted', instance('a', ['delete'], { deposed: 'abcd1234' })],
    ['an instance without a key', change('aws_instance', undefined, REPLACE)],
    ['an instance by number', change('aws_instance', 0, ['delete'])],
    ["another resource's instance with the host's key", { ...own, address: 'aws_instance.other["a"]' }],
    ["a module's instance with the host's key", { ...own, address: `module.m.${own.address}` }],
    ['a shared resource deleted', change('aws_s3_bucket', undefined, ['delete'])],
    ['a shared resource replaced', change('aws_security_group', undefined, REPLACE)],
    ["a neighbour's role deleted", change('aws_iam_role', 'b', ['delete'])],
    ["a neighbour's role replaced", change('aws_iam_role', 'b', REPLACE)],
    ["a neighbour's role created", change('aws_iam_role', 'b', ['create'])],
    ["a neighbour's policy updated", change('aws_iam_role_policy', 'b', ['update'])],
    ['a shared resource of another kind updated', change('aws_s3_bucket_policy', undefined, ['update'])],
    ['a shared resource of another kind created', change('aws_lambda_function', undefined, ['create'])],
    [
      'something imported',
      { ...change('aws_iam_role', 'a', ['no-op']), change: { actions: ['no-op'], importing: { id: 'x' } } },
    ],
    ['a role forgotten', change('aws_iam_role', 'a', ['forget'])],
    ['a role created and forgotten', change('aws_iam_role', 'a', ['create', 'forget'])],
    ['an action nobody knows', change('aws_iam_role', 'a', ['teleport'])],
    ['no action at all', change('aws_iam_role', 'a', [])],
    ['a known action twice', change('aws_iam_role', 'a', ['update', 'update'])],
    ['a data source that is deleted', change('aws_ami', undefined, ['delete'], { mode: 'data' })],
    ['a mode nobody knows', change('aws_iam_role', 'a', ['update'], { mode: 'ephemeral' })],
  ]
  for (const [why, also] of offences) {
    it(`refuses the whole plan for ${why}, naming its address`, () => {
      const error = refusal(plan(own, instance('b', ['no-op']), also))
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.message).to.include(also.address)
      expect(error.partial).to.deep.equal({ addresses: [also.address] })
    })
  }

  it("lets a neighbour's policy change where the request names the neighbour, too", () => {
    const json = plan(own, change('aws_iam_role_policy', 'b', ['update']))
    expect(guardPlan(json, { id: 'a', action: 'replace', scope: ['a', 'b'] }).lines).to.have.length(2)
    expect(refusal(json).hint).to.include('deploy all')
  })

  it("lets a neighbour's tags change, and nothing beside them", () => {
    const retagged = (after: object) => {
      const role = change('aws_iam_role', 'b', ['update'])
      return { ...role, change: { ...role.change, before: { name: 'b', tags: {} }, after } }
    }
    expect(guard(plan(own, retagged({ name: 'b', tags: { app: 'x' } }))).changes).to.have.length(2)
    expect(refusal(plan(own, retagged({ name: 'c', tags: {} }))).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  it('names every offending address', () => {
    const error = refusal(plan(instance('b', REPLACE), own, instance('c', ['delete'])))
    expect(error.partial).to.deep.equal({ addresses: [instanceAddress('b'), instanceAddress('c')] })
    expect(error.message).to.match(/replace .*\["b"\], delete .*\["c"\]/)
  })

  for (const shared of [
    change('aws_dynamodb_table', 0, ['delete']),
    change('aws_s3_bucket', 'heartbeats', ['delete']),
  ]) {
    it(`refuses to delete ${shared.address}, which belongs to no host`, () => {
      expect(refusal(plan(own, shared)).code).to.equal('PLAN_OUT_OF_SCOPE')
    })
  }

  it('judges every change that the plan has for the named host', () => {
    expect(refusal(plan(instance('a', ['create']), own), 'create').code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  const finds: [found: string[] | null, wanted: 'create' | 'replace', accepted: boolean][] = [
    [['create'], 'create', true],
    [['create'], 'replace', true],
    [['delete', 'create'], 'replace', true],
    [['create', 'delete'], 'replace', true],
    [['delete', 'create'], 'create', false],
    [['no-op'], 'replace', false],
    [['no-op'], 'create', false],
    [['read'], 'replace', false],
    [['update'], 'replace', false],
    [['delete'], 'replace', false],
    [['forget'], 'replace', false],
    [null, 'replace', false],
    [null, 'create', false],
  ]
  for (const [found, wanted, accepted] of finds) {
    it(`asked to ${wanted}, ${accepted ? 'accepts' : 'refuses'} ${found?.join('+') ?? 'a plan without the host'}`, () => {
      const json = plan(...(found ? [instance('a', found)] : []), instance('b', ['no-op']))
      if (accepted) {
        expect(guard(json, wanted).lines).to.have.length(1)
      } else {
        const error = refusal(json, wanted)
        expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
        expect(error.partial).to.deep.equal({ addresses: [instanceAddress('a')] })
      }
    })
  }

  it('refuses an empty plan: OpenTofu answers "No changes" to an unknown key', () => {
    expect(refusal({ format_version: '1.2' }).message).to.include('does not hold it')
    expect(refusal(plan()).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  const forms: [why: string, json: unknown][] = [
    ['nothing', undefined],
    ['null', null],
    ['a text', '{}'],
    ['no format', { resource_changes: [own] }],
    ['another major format', { ...plan(own), format_version: '2.0' }],
    ['a format like 10.0', { ...plan(own), format_version: '10.0' }],
    ['a plan that failed', { ...plan(own), errored: true }],
    ['changes that are no list', { format_version: '1.2', resource_changes: { 0: own } }],
    ['a change without a type', plan({ ...own, type: undefined })],
    ['a change without actions', plan({ ...own, change: {} })],
    ['actions that are no list', plan({ ...own, change: { actions: 'delete,create' } })],
    ['an index that is an object', plan({ ...own, index: {} })],
  ]
  for (const [why, json] of forms) {
    it(`does not apply ${why}`, () => expect(refusal(json).code).to.equal('PLAN_FAILED'))
  }

  it('ignores what it need not know', () => {
    const json = { ...plan({ ...own, provider_name: 'x', change: { actions: REPLACE, after: {} } }), applyable: true }
    expect(guard(json).changes).to.have.length(1)
  })

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
      index: fc.constantFrom('a', 'b', 'c', '__proto__', 0, undefined),
      actions,
      mode: fc.constantFrom('managed', 'managed', 'managed', 'data'),
      module: fc.constantFrom('', '', 'module.m.'),
      moved: fc.constantFrom(false, false, true),
    })
    .map(({ type, index, actions, mode, module, moved }) => {
      const made = change(type, index, actions, { mode, ...(moved ? { previous_address: 'aws_instance.x' } : {}) })
      return { ...made, address: module + made.address }
    })

  it('never accepts a plan that deletes, replaces, creates, changes or forgets any instance but the named one', () => {
    const wanted = fc.constantFrom('create' as const, 'replace' as const)
    let accepted = 0
    const check = (changes: readonly Change[], action: 'create' | 'replace') => {
      try {
        guard(plan(...changes), action)
      } catch (error) {
        expect((error as ClawctlError).code).to.equal('PLAN_OUT_OF_SCOPE')
        return
      }
      accepted += 1
      const touched = changes.filter(
        (c) => c.type === 'aws_instance' && !/^(?:no-op|read)$/.test(c.change.actions.join()),
      )
      expect(touched.map((c) => c.address)).to.include(own.address)
      for (const { address, change } of touched) {
        expect(address).to.equal(own.address)
        const replaced = change.actions.includes('delete') && change.actions.includes('create')
        expect(replaced ? action : change.actions.join()).to.equal(replaced ? 'replace' : 'create')
      }
      for (const c of changes.filter((c) => c.change.actions.includes('delete') && c.type !== 'aws_instance')) {
        expect(c.mode).to.equal('managed')
        expect(c.index).to.not.equal(undefined)
      }
    }
    const withOwn = fc.tuple(
      fc.uniqueArray(generated, { maxLength: 3, selector: (c) => c.address }),
      fc.boolean(),
      actions,
    )
    fc.assert(
      fc.property(withOwn, wanted, ([changes, present, how], action) => {
        const others = changes.filter((c) => c.address !== own.address)
        check(present ? [instance('a', how), ...others] : changes, action)
      }),
      { numRuns: 2000 },
    )
    expect(accepted, 'plans that were accepted').to.be.above(20)
  })
})

describe('guardPlan of a retirement', () => {
  const retire = (...changes: unknown[]) => guardPlan(plan(...changes), { id: 'a', action: 'retire' })
  const end = ['aws_instance', 'aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile'].map((type) =>
    change(type, 'a', ['delete']),
  )

  it('accepts the end of one host and of what belongs to it', () => {
    expect(retire(...end, instance('b', ['no-op'])).lines).to.deep.equal(end.map(({ address }) => `delete ${address}`))
  })

  it('accepts what is left where EC2 has lost the instance', () => {
    expect(retire(...end.slice(1)).lines).to.have.length(3)
  })

  const offences: [why: string, change: Change][] = [
    ["a neighbour's end", instance('b', ['delete'])],
    ["the end of a neighbour's role", change('aws_iam_role', 'b', ['delete'])],
    ['a neighbour replaced', instance('b', REPLACE)],
    ['a neighbour created', instance('b', ['create'])],
    ['a replacement of the host itself', instance('a', REPLACE)],
    ['an update of its role', change('aws_iam_role', 'a', ['update'])],
    ['a shared group that changes', change('aws_security_group', undefined, ['update'])],
    ['a shared group that ends', change('aws_security_group', undefined, ['delete'])],
    ['something else of its key', change('aws_ebs_volume', 'a', ['delete'])],
    ['another instance of its key', { ...instance('a', ['delete']), address: 'aws_instance.other["a"]' }],
    ['the host forgotten', instance('a', ['forget'])],
  ]
  for (const [why, also] of offences) {
    it(`refuses beside it: ${why}`, () => {
      const error = thrown(() => retire(...end.slice(1), also))
      expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
      expect(error.partial?.addresses).to.deep.equal([also.address])
    })
  }

  it('refuses a plan that holds nothing of it', () => {
    expect(thrown(() => retire(instance('b', ['no-op']))).code).to.equal('PLAN_OUT_OF_SCOPE')
  })

  it('never lets a deploy destroy its host', () => {
    expect(thrown(() => guard(plan(instance('a', ['delete'])))).code).to.equal('PLAN_OUT_OF_SCOPE')
  })
})
