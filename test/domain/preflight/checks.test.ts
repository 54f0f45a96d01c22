import { expect } from 'chai'
import fc from 'fast-check'
import type { Check, Fleet } from '../../../src/lib/domain/contract/index.js'
import { groupChecks, verdictOf } from '../../../src/lib/domain/preflight/checks.js'
import { compareRegistries, judgeLocalRegistry, judgeSecretsFolder } from '../../../src/lib/domain/preflight/local.js'
import { registryOf, registryText } from '../../support/fakes.js'

const KNOWN = [
  'control-api-url',
  'control-api-answers',
  'token-known',
  'token-accepted',
  'control-token',
  'token-secret',
  'token-bundles',
  'github-token',
  'github-dispatch',
  'workflow',
  'registry',
  'local-registry',
  'registry-deployed',
  'discord-secrets',
  'bundles',
  'latest-ami',
  'ec2',
  'fleet',
]
const check = (id: string, status: Check['status'], change: Partial<Check> = {}): Check => ({
  id,
  title: `About ${id}`,
  status,
  evidence: `Seen of ${id}.`,
  fix: status === 'fail' ? `Fix ${id}.` : null,
  ...change,
})

describe("the runbook's checks", () => {
  const found = fc.uniqueArray(
    fc
      .tuple(fc.constantFrom(...KNOWN, 'from-a-newer-server', 'constructor'), fc.constantFrom('pass', 'fail', 'skip'))
      .map(([id, status]) => check(id, status as Check['status'])),
    { selector: ({ id }) => id },
  )

  it('contain every finding exactly once, and always the seven checks first', () => {
    fc.assert(
      fc.property(found, (checks) => {
        const grouped = groupChecks(checks, 'not checked')
        expect(grouped.slice(0, 7).map(({ id }) => id)).to.deep.equal(groupChecks([], '').map(({ id }) => id))
        const parts = grouped.flatMap((one) => one.parts.map(({ id }) => id))
        expect(parts.sort()).to.deep.equal(checks.map(({ id }) => id).sort())
      }),
    )
  })

  it('fail if any part failed, and pass if one part (or the deciding one) passed', () => {
    const deciding = new Map(
      Object.entries({
        'control-token': ['token-accepted', 'token-bundles'],
        registry: ['registry'],
        'discord-tokens': ['bundles'],
      }),
    )
    fc.assert(
      fc.property(found, (checks) => {
        for (const { id, status, evidence, fix, parts } of groupChecks(checks, 'not checked')) {
          const having = (wanted: string) => parts.filter((part) => part.status === wanted)
          const decides = deciding.get(id)
          const passes = having('pass').some((part) => decides === undefined || decides.includes(part.id))
          expect(status).to.equal(having('fail').length > 0 ? 'fail' : passes ? 'pass' : 'skip')
          for (const failed of having('fail')) {
            expect(evidence).to.include(failed.evidence)
            expect(fix?.split('\n')).to.include(failed.fix)
          }
          if (parts.length === 0) expect(evidence).to.equal('not checked')
        }
      }),
    )
  })

  it('are ready if and only if no check failed', () => {
    fc.assert(
      fc.property(found, (checks) => {
        const grouped = groupChecks(checks, '')
        const verdict = verdictOf(grouped)
        expect(verdict.ready).to.equal(checks.every(({ status }) => status !== 'fail'))
        expect(verdict.text.startsWith('Ready')).to.equal(verdict.ready)
        expect(verdict.failed + verdict.skipped).to.be.at.most(grouped.length)
      }),
    )
    const two = [check('latest-ami', 'fail'), check('fleet', 'fail'), check('ec2', 'fail'), check('new', 'pass')]
    expect(verdictOf(groupChecks(two, '')).text).to.equal('Not ready: 2 of 8 checks failed, 5 skipped.')
    expect(verdictOf(KNOWN.map((id) => check(id, 'pass'))).text).to.equal('Ready to fly.')
  })

  it('name the command that fixes a failure', () => {
    const [failed] = groupChecks([check('latest-ami', 'fail')], '').filter(({ status }) => status === 'fail')
    expect(failed?.fix).to.equal('Fix latest-ami.\ngh workflow run image-build.yml')
  })

  const fleetOf = (...ids: string[]): Fleet => ({
    latestAmi: null,
    instances: ids.map((id) => ({
      id: id.replace('!', ''),
      state: id.startsWith('!') ? 'orphan' : 'missing',
      instanceId: null,
      ami: null,
      amiStatus: 'unknown',
      instanceType: null,
      publicIp: null,
      launchedAt: null,
      health: 'unknown',
      revision: null,
    })),
  })

  it('show how the checkout and the deployed branch differ', () => {
    const compared = (fleet: Fleet) => compareRegistries(registryOf('a', 'b'), fleet)
    expect(compared(fleetOf('b', 'a', '!c'))).to.include({ status: 'pass', fix: null })
    expect(compared(fleetOf('a', 'c', '!b')).evidence).to.equal(
      'The deployed branch differs: only in the checkout: b; only on the deployed branch: c.',
    )
    expect(compared(fleetOf('a', 'b', 'c')).fix).to.equal('git pull')
  })

  it('quote the first problem of the registry, and count the others', () => {
    expect(judgeLocalRegistry(registryText(registryOf('a')), ['a'], 1).evidence).to.equal('1 instance in the checkout.')
    const bad = judgeLocalRegistry(registryText(registryOf('a', 'b')), [], 2)
    expect(bad.status).to.equal('fail')
    expect(bad.evidence).to.match(/^nix\/instances\.json:2:3: error: a: .*\. And 1 more\.$/)
  })

  it('name the secrets with a problem', () => {
    const problems = new Map([
      ['a', null],
      ['b', 'is empty'],
      ['c', 'is missing'],
    ] as const)
    expect(judgeSecretsFolder('discord-secrets', 'x', 'dir', problems)).to.include({
      status: 'fail',
      evidence: 'b.age is empty, c.age is missing.',
      fix: 'agenix -e b.age',
    })
  })
})
