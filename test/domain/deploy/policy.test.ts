import { expect } from 'chai'
import fc from 'fast-check'
import { STRATEGIES } from '../../../src/lib/domain/contract/index.js'
import type { Assurance } from '../../../src/lib/domain/deploy/identity.js'
import { allowDeploy, type DeployQuestion, decideDeploy } from '../../../src/lib/domain/deploy/policy.js'
import { registryOf, thrown } from '../../support/fakes.js'

const registry = registryOf('clawdinator-1', 'clawdinator-2')
const ask = (question: DeployQuestion) => {
  const verdict = decideDeploy(question)
  return verdict.allowed ? (verdict.scope.kind === 'all' ? 'all' : `one ${verdict.scope.id}`) : verdict.code
}

describe('decideDeploy', () => {
  const table: [why: string, question: DeployQuestion, expected: string][] = [
    ['a person on a laptop deploys one', { target: 'clawdinator-2', requestedBy: 'Ada' }, 'one clawdinator-2'],
    ['a person on a laptop deploys all', { target: 'all', requestedBy: 'Ada' }, 'all'],
    ['a request without a name deploys one', { target: 'clawdinator-2' }, 'one clawdinator-2'],
    ['a request without a name may not deploy all', { target: 'all' }, 'PERSON_REQUIRED'],
    [
      'a request without a name may not choose an AMI',
      { target: 'clawdinator-2', amiOverride: 'ami-1234abcd' },
      'PERSON_REQUIRED',
    ],
    [
      'a request without a name may not choose the newest configuration',
      { target: 'clawdinator-2', configRevision: 'newest' },
      'PERSON_REQUIRED',
    ],
    [
      'a request without a name may not choose a strategy',
      { target: 'clawdinator-2', strategy: 'replace' },
      'PERSON_REQUIRED',
    ],
    [
      'null counts as absent',
      { target: 'clawdinator-2', caller: null, requestedBy: null, amiOverride: null },
      'one clawdinator-2',
    ],
    [
      'a bot may not choose an AMI',
      { target: 'clawdinator-2', caller: 'clawdinator-1', amiOverride: 'ami-1234abcd' },
      'PERSON_REQUIRED',
    ],
    [
      'an unknown instance may not request anything',
      { target: 'clawdinator-1', caller: 'clawdinator-99' },
      'UNKNOWN_CALLER',
    ],
    [
      'an instance id is not a person',
      { target: 'all', caller: 'clawdinator-1', requestedBy: 'clawdinator-1' },
      'INVALID_REQUEST',
    ],
    ["another instance's id is not a person", { target: 'all', requestedBy: 'Clawdinator-2' }, 'INVALID_REQUEST'],
    [
      'an instance id in wide letters is not a person',
      { target: 'all', requestedBy: 'ｃlawdinator-2' },
      'INVALID_REQUEST',
    ],
    ['a dash is not a person', { target: 'all', requestedBy: '-' }, 'INVALID_REQUEST'],
    ['an empty braille cell is not a person', { target: 'all', requestedBy: '\u2800' }, 'INVALID_REQUEST'],
    ['a Hangul filler is not a person', { target: 'all', requestedBy: '\u3164' }, 'INVALID_REQUEST'],
    ['a name may have letters of any script', { target: 'all', requestedBy: '姓名' }, 'all'],
    [
      'a claimed name is not enough once a person is enrolled',
      { target: 'all', requestedBy: 'Ada', enrolled: true },
      'CODE_REQUIRED',
    ],
    [
      'a verified name is enough',
      { target: 'all', requestedBy: 'Ada', enrolled: true, identity: { host: 'none', person: 'verified' } },
      'all',
    ],
    [
      'one instance needs no code',
      { target: 'clawdinator-2', requestedBy: 'Ada', enrolled: true },
      'one clawdinator-2',
    ],
    [
      '`all` of a fleet with only the caller is a deploy of itself',
      { target: 'all', caller: 'clawdinator-1', requestedBy: 'Ada', registry: registryOf('clawdinator-1') },
      'SELF_DEPLOY',
    ],
    ['a bot may deploy another instance', { target: 'clawdinator-2', caller: 'clawdinator-1' }, 'one clawdinator-2'],
    ['a bot may not deploy itself', { target: 'clawdinator-1', caller: 'clawdinator-1' }, 'SELF_DEPLOY'],
    [
      'a bot may not deploy itself for a person',
      { target: 'clawdinator-1', caller: 'clawdinator-1', requestedBy: 'Ada' },
      'SELF_DEPLOY',
    ],
    ['a bot may not deploy all', { target: 'all', caller: 'clawdinator-1' }, 'BOT_DEPLOY_ALL'],
    [
      'a bot without a name of a person is a bot',
      { target: 'all', caller: 'clawdinator-1', requestedBy: ' ' },
      'BOT_DEPLOY_ALL',
    ],
    ['a person may deploy all through a bot', { target: 'all', caller: 'clawdinator-1', requestedBy: 'Ada' }, 'all'],
    [
      'a person may retire an instance that left the registry',
      { target: 'gone-1', retire: true, requestedBy: 'Ada' },
      'one gone-1',
    ],
    ['a request without a name may not retire', { target: 'gone-1', retire: true }, 'PERSON_REQUIRED'],
    [
      'an instance of the registry may not be retired',
      { target: 'clawdinator-2', retire: true, requestedBy: 'Ada' },
      'STILL_REGISTERED',
    ],
    ['`all` may not be retired', { target: 'all', retire: true, requestedBy: 'Ada' }, 'INVALID_TARGET'],
    ['a bot may not retire', { target: 'gone-1', retire: true, caller: 'clawdinator-1' }, 'BOT_RETIRE'],
    [
      'a person may retire through a bot',
      { target: 'gone-1', retire: true, caller: 'clawdinator-1', requestedBy: 'Ada' },
      'one gone-1',
    ],
    [
      'the caller may not be retired',
      { target: 'gone-1', retire: true, caller: 'gone-1', requestedBy: 'Ada' },
      'SELF_DEPLOY',
    ],
    [
      'a retirement has no AMI',
      { target: 'gone-1', retire: true, amiOverride: 'ami-1234abcd', requestedBy: 'Ada' },
      'INVALID_AMI',
    ],
    ['an unknown target', { target: 'clawdinator-3' }, 'UNKNOWN_TARGET'],
    ['a property name of JavaScript is not a target', { target: 'constructor' }, 'UNKNOWN_TARGET'],
    ['an empty target', { target: '' }, 'INVALID_TARGET'],
    ['ALL is not all', { target: 'ALL' }, 'INVALID_TARGET'],
    ['two targets', { target: 'clawdinator-1,clawdinator-2' }, 'INVALID_TARGET'],
    ['a newline after the target', { target: 'all\n' }, 'INVALID_TARGET'],
    ['an address', { target: 'aws_instance.clawdinator["x"]' }, 'INVALID_TARGET'],
    ['__proto__', { target: '__proto__' }, 'INVALID_TARGET'],
    ['64 characters', { target: 'a'.repeat(64) }, 'INVALID_TARGET'],
    ['an AMI of 17 digits', { target: 'all', amiOverride: 'ami-0123456789abcdef0', requestedBy: 'Ada' }, 'all'],
    ['an AMI of 8 digits', { target: 'all', amiOverride: 'ami-1234abcd', requestedBy: 'Ada' }, 'all'],
  ]
  for (const [why, question, expected] of table) {
    it(`${why}: ${expected}`, () => expect(ask({ registry, ...question })).to.equal(expected))
  }

  for (const ami of [
    'ami-',
    'ami-xyz',
    'ami-1234ABCD',
    'ami-123456789',
    ' ami-1234abcd',
    'ami-1234abcd\n',
    '1234abcd',
  ]) {
    it(`refuses the AMI ${JSON.stringify(ami)}`, () => {
      expect(ask({ target: 'clawdinator-1', amiOverride: ami, registry })).to.equal('INVALID_AMI')
    })
  }

  it('does not check that the target exists without a registry', () => {
    expect(ask({ target: 'clawdinator-9' })).to.equal('one clawdinator-9')
    expect(ask({ target: 'clawdinator-9', registry: [] })).to.equal('UNKNOWN_TARGET')
    expect(ask({ target: 'all', caller: 'clawdinator-1', requestedBy: 'Ada' })).to.equal('all')
    expect(ask({ target: 'all', caller: 'clawdinator-1', requestedBy: 'Clawdinator-1' })).to.equal('INVALID_REQUEST')
    expect(thrown(() => allowDeploy({ target: 'ALL' })).hint).to.be.a('string')
    expect(decideDeploy({ target: 'ALL' }))
      .to.have.property('hint')
      .that.matches(/^Name `all` or an instance id/)
  })

  it('leaves the caller out of `all`, if there is a caller', () => {
    const all = { target: 'all', requestedBy: 'Ada' }
    const scope = (except: string | null) => ({ allowed: true, scope: { kind: 'all', except } })
    expect(decideDeploy({ ...all, registry, caller: 'clawdinator-1' })).to.deep.equal(scope('clawdinator-1'))
    expect(decideDeploy({ ...all, registry: [] })).to.deep.equal(scope(null))
  })

  const hints: [target: string, hint: RegExp][] = [
    ['clawdinator-3', /^Did you mean clawdinator-1\?$/],
    ['Clawdinator-2', /^Did you mean clawdinator-2\?$/],
    ['al', /^Known instances: clawdinator-1, clawdinator-2\.$/],
    ['web-frontend', /^Known instances: clawdinator-1, clawdinator-2\.$/],
  ]
  for (const [target, hint] of hints) {
    it(`hints for ${target}: ${hint.source}`, () => {
      expect(decideDeploy({ target, registry })).to.have.property('hint').that.matches(hint)
    })
  }

  it('lists at most ten known instances', () => {
    const many = registryOf(...Array.from({ length: 12 }, (_, n) => `clawdinator-${n}`))
    const verdict = decideDeploy({ target: 'web', registry: many })
    expect(verdict)
      .to.have.property('hint')
      .that.matches(/clawdinator-9 and 2 more\.$/)
    expect(decideDeploy({ target: 'web', registry: many.slice(0, 10) }))
      .to.have.property('hint')
      .that.matches(/clawdinator-9\.$/)
  })

  it('shows malformed input shortened and escaped', () => {
    const verdict = decideDeploy({ target: `\u001b[2J${'x'.repeat(5000)}` })
    expect(verdict).to.have.property('message').that.includes('\\u001b[2J')
    expect(verdict).to.have.property('message').with.length.below(200)
    const shown = (target: string) => expect(decideDeploy({ target })).to.have.property('message')
    shown('ALL').that.matches(/^"ALL" is not a target/)
    shown('X'.repeat(80)).that.matches(/^"X{80}" is not a target/)
    shown('X'.repeat(81)).that.matches(/^"X{77}\.\.\." is not a target/)
  })

  const name = fc.oneof(
    fc.constantFrom('all', 'clawdinator-1', 'clawdinator-2', 'clawdinator-3', ''),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/),
    fc.string(),
  )
  const assurance = fc.constantFrom<Assurance>('verified', 'claimed', 'none')
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
  const question = fc
    .record({
      target: name,
      caller: maybe(name),
      requestedBy: maybe(
        fc.oneof(fc.constantFrom('', ' ', 'Ada', '\u3164', 'clawdinator-1'), fc.string({ unit: 'grapheme' })),
      ),
      retire: maybe(fc.boolean()),
      strategy: maybe(fc.constantFrom(...STRATEGIES)),
      identity: maybe(fc.record({ host: assurance, person: assurance })),
      enrolled: maybe(fc.boolean()),
      amiOverride: maybe(fc.oneof(fc.constantFrom('ami-1234abcd', 'ami-1'), fc.string())),
      registry: maybe(fc.constant(registry)),
    })
    // Without a caller or a requester, neither can be verified or claimed.
    .map(({ identity, ...q }) => ({
      ...q,
      identity: identity && {
        host: q.caller ? identity.host : ('none' as const),
        person: q.requestedBy?.trim() ? identity.person : ('none' as const),
      },
    }))
  const always = (what: string, check: (q: DeployQuestion, v: ReturnType<typeof decideDeploy>) => void) =>
    it(what, () =>
      fc.assert(
        fc.property(question, (q) => check(q, decideDeploy(q))),
        { numRuns: 1000 },
      ),
    )

  always('never lets a bot deploy all', (q, verdict) => {
    if (q.caller && !q.requestedBy?.trim() && q.target === 'all') expect(verdict.allowed).to.equal(false)
  })
  always('never opens what needs a person to nobody, nor to a claimed name once somebody is enrolled', (q, verdict) => {
    const needs = q.target === 'all' || q.retire || q.amiOverride || q.strategy
    const person = q.identity?.person ?? (q.requestedBy?.trim() ? 'claimed' : 'none')
    if (needs && (person === 'none' || (q.enrolled && person === 'claimed'))) expect(verdict.allowed).to.equal(false)
  })
  always('never takes an id, or what can not be seen, for a person', (q, verdict) => {
    const name = q.requestedBy?.trim()
    const isId = q.registry?.some((entry) => entry.id === name) || name === q.caller
    if (name && (isId || /^[\p{DI}\p{P}\p{S}\p{Z}\p{C}]+$/u.test(name))) expect(verdict.allowed).to.equal(false)
  })
  always('never lets an instance that is not in the registry ask', (q, verdict) => {
    if (q.registry && q.caller && !q.registry.some((entry) => entry.id === q.caller))
      expect(verdict.allowed).to.equal(false)
  })
  always('leaves the instance that asks out of all', (q, verdict) => {
    if (verdict.allowed && verdict.scope.kind === 'all') expect(verdict.scope.except).to.equal(q.caller ?? null)
  })
  always('never lets anyone deploy the instance that they call from', (q, verdict) => {
    if (q.caller && q.caller === q.target) expect(verdict.allowed).to.equal(false)
  })
  always('never allows a target that the registry lacks', (q, verdict) => {
    const known = q.target === 'all' || registry.some((entry) => entry.id === q.target)
    if (q.registry && !q.retire && !known) expect(verdict.allowed).to.equal(false)
  })
  always('never allows an AMI of the wrong form', (q, verdict) => {
    if (q.amiOverride && q.amiOverride !== 'ami-1234abcd') expect(verdict.allowed).to.equal(false)
  })
  always('refuses with a code, a message and a hint, and allows exactly what was asked for', (q, verdict) => {
    if (verdict.allowed) {
      expect(verdict.scope).to.deep.equal(
        q.target === 'all' ? { kind: 'all', except: q.caller ?? null } : { kind: 'instance', id: q.target },
      )
    } else {
      expect(verdict.code).to.match(/^[A-Z_]+$/)
      expect(verdict.message).to.match(/\.$/)
      expect(verdict.hint).to.match(/[.?]$/)
    }
  })
})
