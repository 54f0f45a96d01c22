import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { Secret, TOTP } from 'otpauth'
import { formatPeople, PEOPLE_KEY } from '../../src/lib/domain/people/people.js'
import { BUCKET, startPlane, type TestPlane } from '../support/plane.js'
import { environment, event, Lambda } from './invoke.js'

const OWN = 'own-token-of-clawdinator-1'
const READ = 'token-of-a-phone-that-reads'
const SECRET = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
const digestOf = (token: string) => createHash('sha256').update(token).digest('hex')
const TABLES = {
  CONTROL_API_CALLER_TOKENS: JSON.stringify({ 'clawdinator-1': [digestOf('a newer one'), digestOf(OWN)] }),
  CONTROL_API_READ_TOKENS: JSON.stringify({ phone: digestOf(READ) }),
}
const now = () => new TOTP({ secret: Secret.fromBase32(SECRET) }).generate()

describe('Control API: identities', () => {
  let plane: TestPlane
  let lambda: Lambda
  let nth = 0
  beforeEach(async () => {
    plane = await startPlane()
    lambda = new Lambda(environment(plane, TABLES))
  })
  afterEach(() => plane.close())

  const post = (path: string, body: object, token?: string) =>
    lambda.send(
      event('POST', path, {
        body: JSON.stringify(body),
        ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
      }),
    )
  const ask = (body: object, token?: string) =>
    post('/v1/deploys', { requestId: `attempt-${String(++nth).padStart(8, '0')}`, ...body }, token)
  const enrol = (name = 'Jo') =>
    plane.world.putObject(
      BUCKET,
      PEOPLE_KEY,
      formatPeople([
        { name, secret: SECRET, enrolledAt: '2026-11-01T00:00:00Z', used: null, wrong: 0, lockedUntil: null },
      ]),
    )

  const self = { target: 'clawdinator-1' }
  const bot = { caller: 'clawdinator-1' }
  /** With the shared token. */
  const attacks: [why: string, body: object, outcome: string][] = [
    ['itself, honest', { ...self, ...bot }, 'SELF_DEPLOY'],
    ['itself, without a caller', self, 'unknown, shared token'],
    ['itself, as an unknown instance', { ...self, caller: 'clawdinator-99' }, 'UNKNOWN_CALLER'],
    ['all, honest', { target: 'all', ...bot }, 'BOT_DEPLOY_ALL'],
    ['all, without a caller', { target: 'all' }, 'PERSON_REQUIRED'],
    ['all, for any name', { target: 'all', ...bot, requestedBy: 'Jo' }, 'host claimed, person claimed'],
    ['all, for its own id', { target: 'all', ...bot, requestedBy: 'clawdinator-1' }, 'INVALID_REQUEST'],
    ['all, for an empty braille cell', { target: 'all', ...bot, requestedBy: '\u2800' }, 'INVALID_REQUEST'],
    ['all, for a Hangul filler', { target: 'all', ...bot, requestedBy: '\u3164' }, 'INVALID_REQUEST'],
    ['all, for a dash', { target: 'all', ...bot, requestedBy: '-' }, 'INVALID_REQUEST'],
    ['the retirement of an unregistered id', { target: 'ghost-1', retire: true }, 'PERSON_REQUIRED'],
    ['an old AMI', { target: 'clawdinator-2', ...bot, amiOverride: 'ami-00000000000000000' }, 'PERSON_REQUIRED'],
    ['a request with its own identity field', { ...self, identity: 'person verified' }, 'INVALID_REQUEST'],
    ["a request with a run's id", { target: 'clawdinator-2', requestId: '20000000001' }, 'INVALID_REQUEST'],
  ]
  for (const [why, body, outcome] of attacks) {
    it(`refuses or records ${why}: ${outcome}`, async () => {
      const answer = await ask(body)
      expect(answer.code === 'OK' ? answer.deploy.identity : answer.code).to.equal(outcome)
      expect(plane.dispatches()).to.have.length(answer.code === 'OK' ? 1 : 0)
      if (answer.code === 'OK') expect(plane.dispatches()[0]?.body).to.include(`"identity":"${outcome}"`)
      else expect(JSON.parse(answer.text).requestId).to.equal(answer.line.requestId)
    })
  }

  it('leaves the caller out of `all` for every name, and reports it', async () => {
    const { deploy } = await ask({ target: 'all', requestedBy: 'Jo' }, OWN)
    expect(deploy).to.include({ leavesOut: 'clawdinator-1', identity: 'host verified, person claimed' })
  })

  it('requires a code where a name alone was enough, accepts it once, and never stores it', async () => {
    await enrol()
    const order = { target: 'all', requestedBy: 'Jo' }
    expect((await ask(order, OWN)).code).to.equal('CODE_REQUIRED')
    expect((await ask({ ...order, requestedBy: 'Eve', code: now() })).code).to.equal('CODE_WRONG')
    const code = now()
    const answer = await ask({ ...order, code }, OWN)
    expect(answer.deploy).to.include({ identity: 'host verified, person verified', requestedBy: 'Jo' })
    expect(answer.text + plane.dispatches()[0]?.body + lambda.lines.join('\n')).not.to.include(code)
    const again = await ask({ ...order, code, requestId: answer.deploy.requestId }, OWN)
    expect([again.status, again.deploy.runId]).to.deep.equal([202, answer.deploy.runId])
    expect((await ask({ target: 'clawdinator-2', requestedBy: 'Jo', code })).code).to.equal('CODE_WRONG')
    expect((await ask({ target: 'clawdinator-2', requestedBy: 'Jo' })).status).to.equal(202)
  })

  it('locks a name after five wrong codes, and reports for how long', async () => {
    await enrol()
    for (let count = 0; count < 5; count++) {
      expect((await ask({ target: 'all', requestedBy: 'Jo', code: '000000' })).code).to.equal('CODE_WRONG')
    }
    const locked = await ask({ target: 'all', requestedBy: 'Jo', code: now() })
    expect([locked.status, locked.code]).to.deep.equal([429, 'CODE_LOCKED'])
    expect(plane.dispatches()).to.deep.equal([])
  })

  it('shows everything to a read token, and changes nothing for it', async () => {
    const headers = { authorization: `Bearer ${READ}` }
    for (const path of ['/v1/fleet', '/v1/deploys', '/v1/preflight']) {
      expect((await lambda.send(event('GET', path, { headers }))).status).to.equal(200)
    }
    for (const [path, body] of [
      ['/v1/deploys', self],
      ['/v1/freezes', { target: 'all', reason: 'x', requestedBy: 'Jo' }],
      ['/v1/unfreezes', { target: 'all', requestedBy: 'Jo' }],
      ['/v1/deploys/request-0001/cancel', {}],
    ] as const) {
      expect([path, (await post(path, body, READ)).code]).to.deep.equal([path, 'READ_ONLY'])
    }
  })

  it('freezes and unfreezes for people, shows freezes, and refuses frozen deploys', async () => {
    await enrol()
    const freeze = { target: 'all', reason: 'Discord is down', forSeconds: 3600 }
    expect((await post('/v1/freezes', freeze, OWN)).code).to.equal('PERSON_REQUIRED')
    expect((await post('/v1/freezes', { ...freeze, requestedBy: 'Jo' }, OWN)).code).to.equal('CODE_REQUIRED')
    const frozen = await post('/v1/freezes', { ...freeze, requestedBy: 'Jo', code: now() }, OWN)
    expect(JSON.parse(frozen.text).freezes).to.have.length(1)
    const { fleet } = await lambda.get('/v1/fleet')
    expect(fleet.freezes?.[0]).to.include({ target: 'all', identity: 'host verified, person verified' })
    const refused = await ask({ target: 'clawdinator-2' })
    expect([refused.status, refused.code]).to.deep.equal([409, 'FROZEN'])
    expect(refused.message).to.include('Jo (verified)').and.include('Discord is down')
    const preflight = (await lambda.get('/v1/preflight')).preflight.checks.find(({ id }) => id === 'freeze')
    expect(preflight?.evidence).to.include('Discord is down')
    expect(preflight).to.include({ title: 'Freezes', status: 'fail' })
    // The code of this step is used, and the code of the previous step is older.
    expect((await post('/v1/unfreezes', { target: 'all', requestedBy: 'Jo' })).code).to.equal('CODE_REQUIRED')
  })

  it("accepts a freeze's reason only as one line without control and bidi characters", async () => {
    const freeze = { target: 'clawdinator-2', requestedBy: 'Jo' }
    for (const char of [
      '\n',
      '\u0007',
      '\u001b[31m',
      '\u007f',
      '\u009b',
      '\u2028',
      '\u2029',
      '\u202e',
      '\u2066',
      '\u200b',
    ]) {
      const refused = await post('/v1/freezes', { ...freeze, reason: `a${char}b` })
      expect([JSON.stringify(char), refused.code]).to.deep.equal([JSON.stringify(char), 'INVALID_REQUEST'])
      expect(refused.message).to.include('reason')
    }
    expect((await post('/v1/freezes', { ...freeze, reason: 'Café, 日本 – „ok“' })).status).to.equal(200)
  })

  it('cancels a queued deploy on GitHub, and records the sender', async () => {
    const release = plane.hold()
    await ask({ target: 'clawdinator-1' })
    const { deploy } = await ask({ target: 'clawdinator-2' }, OWN)
    const cancelled = await post(`/v1/deploys/${deploy.requestId}/cancel`, { requestedBy: 'Jo' }, OWN)
    expect([cancelled.status, cancelled.deploy.requestId]).to.deep.equal([202, deploy.requestId])
    expect(plane.seen.some(({ path }) => path.endsWith(`/runs/${deploy.runId}/cancel`))).to.equal(true)
    release()
    const { status } = (await lambda.get(`/v1/deploys/${deploy.requestId}`)).deploy
    expect(status).to.equal('cancelled')
    expect((await post('/v1/deploys/request-none/cancel', {}, OWN)).code).to.equal('NOT_FOUND')
  })
})
