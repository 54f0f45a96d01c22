import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { startPlane, type TestPlane } from '../support/plane.js'
import { environment, event, Lambda, PREVIOUS, TOKEN } from './invoke.js'

const OWN = 'own-token-of-clawdinator-1'
const digestOf = (token: string) => createHash('sha256').update(token).digest('hex')
const TABLE = JSON.stringify({
  'clawdinator-1': digestOf(OWN),
  'clawdinator-2': digestOf('another-token').toUpperCase(),
})

describe('Control API: callers and tokens', () => {
  let plane: TestPlane
  let lambda: Lambda
  before(async () => {
    plane = await startPlane()
  })
  after(() => plane.close())
  beforeEach(() => {
    lambda = new Lambda(environment(plane, { CONTROL_API_CALLER_TOKENS: TABLE }))
    plane.seen.length = 0
    plane.requests.length = 0
  })

  const as = (token: string, body: Record<string, unknown>) =>
    lambda.deploy(body, { headers: { authorization: `Bearer ${token}` } })

  it("treats a request with an instance's token as that instance's", async () => {
    const answer = await as(OWN, { target: 'clawdinator-2', requestId: 'request-own-1' })
    expect([answer.status, answer.deploy.caller]).to.deep.equal([202, 'clawdinator-1'])
    expect(JSON.parse(plane.dispatches()[0]?.body ?? '').inputs.caller).to.equal('clawdinator-1')
    expect(answer.line).to.include({ caller: 'clawdinator-1', target: 'clawdinator-2', requestId: 'request-own-1' })
    const same = await as(OWN, { target: 'clawdinator-2', caller: 'clawdinator-1', requestId: 'request-own-1' })
    expect([same.status, same.deploy.runId]).to.deep.equal([202, answer.deploy.runId])
  })

  it('refuses another caller, the instance itself, and `all` without a person; a person is recorded as claimed', async () => {
    const cases: [Record<string, unknown>, number, string][] = [
      [{ target: 'clawdinator-1', caller: 'clawdinator-2' }, 403, 'CALLER_MISMATCH'],
      [{ target: 'clawdinator-1' }, 403, 'SELF_DEPLOY'],
      [{ target: 'clawdinator-1', requestedBy: 'Jo' }, 403, 'SELF_DEPLOY'],
      [{ target: 'all' }, 403, 'BOT_DEPLOY_ALL'],
    ]
    for (const [body, status, code] of cases) {
      const answer = await as(OWN, body)
      expect([answer.status, answer.code]).to.deep.equal([status, code])
    }
    expect(plane.requests).to.deep.equal([])
    const { deploy } = await as(OWN, { target: 'all', requestedBy: 'Jo', requestId: 'request-own-2' })
    expect([deploy.caller, deploy.requestedBy]).to.deep.equal(['clawdinator-1', 'Jo'])
  })

  it('does not change requests with the shared token', async () => {
    const { deploy } = await lambda.deploy({
      target: 'clawdinator-1',
      caller: 'clawdinator-2',
      requestId: 'request-shared',
    })
    expect(deploy.caller).to.equal('clawdinator-2')
  })

  it('accepts no token of an unreadable table, and reports the table to holders of the shared token', async () => {
    for (const table of ['{', '[]', '7', '{"clawdinator-1":"abc"}', '{"A B":""}']) {
      const broken = new Lambda(environment(plane, { CONTROL_API_CALLER_TOKENS: table }))
      const unauthorized = await broken.deploy({ target: 'all' }, { headers: { authorization: `Bearer ${OWN}` } })
      expect([table, unauthorized.status]).to.deep.equal([table, 401])
      const known = await broken.get('/v1/fleet')
      expect([table, known.code]).to.deep.equal([table, 'NOT_CONFIGURED'])
      expect(known.message).to.include('CONTROL_API_CALLER_TOKENS').and.not.include('abc')
    }
    expect(plane.requests).to.deep.equal([])
  })

  it('refuses two Authorization headers', async () => {
    const headers = { authorization: `Bearer ${TOKEN}`, Authorization: `Bearer ${TOKEN}` }
    expect((await lambda.send(event('GET', '/v1/fleet', { headers }))).status).to.equal(401)
    const joined = { authorization: `Bearer ${TOKEN},Bearer ${TOKEN}` }
    expect((await lambda.send(event('GET', '/v1/fleet', { headers: joined }))).status).to.equal(401)
  })

  it('never repeats a token in another field, and sends it nowhere', async () => {
    for (const token of [TOKEN, PREVIOUS, OWN]) {
      for (const body of [
        { target: token },
        { target: 'clawdinator-1', requestedBy: token },
        {
          target: 'clawdinator-1',
          requestId: token.replaceAll('_', '-') === token ? token : 'request-0001',
          caller: token,
        },
        { target: 'clawdinator-1', [token]: 1 },
        { target: 'clawdinator-1', deep: [[{ x: token }]] },
      ]) {
        const answer = await lambda.deploy(body)
        expect([answer.status, answer.code]).to.deep.equal([400, 'INVALID_REQUEST'])
        expect(answer.text + JSON.stringify(answer.line)).not.to.include(token)
      }
      for (const path of [`/v1/deploys/${token}`, `/v1/deploys?limit=${token}`, `/v1/fleet?${token}=1`]) {
        const answer = await lambda.get(path)
        expect([path, answer.status >= 400 && answer.status < 500]).to.deep.equal([path, true])
        expect(answer.text + JSON.stringify(answer.line)).not.to.include(token)
      }
    }
    expect(plane.requests).to.deep.equal([])
  })

  it('makes no upstream call for an unauthorized request, whatever it contains', async () => {
    const big = 'x'.repeat(1 << 20)
    const started = process.cpuUsage()
    for (let n = 0; n < 500; n += 1) {
      const headers = { authorization: `Bearer guess-${n}` }
      const answer = await lambda.send(
        event('POST', '/v1/deploys', { headers, body: big, isBase64Encoded: n % 2 === 0 }),
      )
      expect(answer.status).to.equal(401)
    }
    const { user, system } = process.cpuUsage(started)
    expect(plane.requests).to.deep.equal([])
    expect((user + system) / 500, 'microseconds of CPU a request').to.be.below(5_000)
  })
})
