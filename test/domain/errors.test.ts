import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect } from 'chai'
import { failureSchema } from '../../src/lib/domain/contract/index.js'
import {
  asClawctlError,
  ClawctlError,
  CODE_NAMES,
  CODES,
  errorBody,
  exitCodeOf,
  httpStatusOf,
} from '../../src/lib/domain/errors.js'

const ROOT = resolve(import.meta.dirname, '../..')

/** The codes that these files raise. */
function raisedIn(paths: readonly string[]): string[] {
  const files = paths.flatMap((path) =>
    path.endsWith('/') ? readdirSync(join(ROOT, path)).map((name) => join(ROOT, path, name)) : [join(ROOT, path)],
  )
  const text = files.map((file) => readFileSync(file, 'utf8')).join('\n')
  return [...new Set([...text.matchAll(/(?:new ClawctlError|refuse)\(\s*'([A-Z_]+)'/g)].map((match) => match[1] ?? ''))]
}

describe('the codes', () => {
  for (const code of CODE_NAMES) {
    it(`${code} has an exit code, a meaning and a next step`, () => {
      expect(exitCodeOf(code)).to.be.oneOf([1, 2, 3, 4, 5, 6])
      expect(CODES[code].meaning).to.match(/^.{10,}\.$/)
      expect(CODES[code].next).to.match(/^.{10,}\.$/)
      expect(httpStatusOf(code)).to.be.within(400, 599)
    })
  }

  it('has a valid HTTP status for every code that the Lambda raises', () => {
    const raised = raisedIn([
      'lambda/',
      'src/lib/domain/deploy/policy.ts',
      'src/lib/domain/registry/registry.ts',
      ...['cancelDeploy', 'claims', 'deploys', 'dispatchDeploy', 'fleetStatus', 'freeze'].map(
        (name) => `src/lib/ops/deploy/${name}.ts`,
      ),
      'src/lib/domain/deploy/freeze.ts',
      'src/lib/ops/registry/readRegistry.ts',
      'src/lib/adapters/github/runs.ts',
      'src/lib/adapters/aws/',
    ])
    expect(raised).to.include.members(['SELF_DEPLOY', 'UNAUTHORIZED', 'REQUEST_CONFLICT', 'RATE_LIMITED'])
    for (const code of raised) expect(CODES, code).to.have.nested.property(`${code}.http`)
  })

  const fixed: [code: keyof typeof CODES, exit: number, http: number][] = [
    ['SELF_DEPLOY', 3, 403],
    ['BOT_DEPLOY_ALL', 3, 403],
    ['UNKNOWN_TARGET', 2, 404],
    ['INVALID_TARGET', 2, 400],
    ['INVALID_AMI', 2, 400],
    ['NOT_CI', 3, 500],
    ['ON_AGENT_HOST', 3, 500],
    ['PLAN_OUT_OF_SCOPE', 3, 500],
    ['USAGE', 2, 500],
    ['NOT_CONFIGURED', 4, 500],
    ['UNAUTHORIZED', 4, 401],
    ['UPSTREAM', 4, 502],
    ['TIMED_OUT', 5, 504],
    ['ROLLED_BACK', 6, 500],
    ['HEALTH_FAILED', 1, 500],
  ]
  for (const [code, exit, http] of fixed) {
    it(`${code} exits ${exit} and answers ${http}`, () => {
      expect([exitCodeOf(code), httpStatusOf(code)]).to.deep.equal([exit, http])
    })
  }
})

describe('asClawctlError', () => {
  it('names a full disk, and calls anything else a defect', () => {
    const full = asClawctlError(Object.assign(new Error('x'), { code: 'ENOSPC', path: '/tmp/a' }))
    expect([full.code, full.message]).to.deep.equal([
      'NOT_WRITABLE',
      "/tmp/a can't be written: there is no space left on this machine.",
    ])
    expect(asClawctlError(Object.assign(new Error('x'), { code: 'EDQUOT' })).code).to.equal('NOT_WRITABLE')
    expect(asClawctlError(Object.assign(new Error('x'), { code: 'EIO' })).code).to.equal('INTERNAL')
    expect(asClawctlError(undefined).code).to.equal('INTERNAL')
  })
})

describe('errorBody', () => {
  it('shows code, message and hint, but not the cause and the partial result', () => {
    const error = new ClawctlError('UPSTREAM', 'It fails.', { hint: 'Wait.', cause: new Error('x'), partial: { a: 1 } })
    expect(errorBody(error)).to.deep.equal({ code: 'UPSTREAM', message: 'It fails.', hint: 'Wait.' })
  })

  it('omits a missing hint, and matches the contract', () => {
    const body = errorBody(new ClawctlError('INTERNAL', 'A defect.'))
    expect(body).to.deep.equal({ code: 'INTERNAL', message: 'A defect.' })
    expect(failureSchema.safeParse({ ok: false, error: body }).success).to.equal(true)
  })
})
