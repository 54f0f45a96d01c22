import { generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import { createGithubApp, type GithubAppSettings } from '../../../src/lib/adapters/github/app.js'
import { parsePrivateKey } from '../../../src/lib/adapters/github/appKey.js'
import { createGithub } from '../../../src/lib/adapters/github/runs.js'
import type { ClawctlError } from '../../../src/lib/domain/errors.js'
import { environment, Lambda } from '../../lambda/invoke.js'
import { failureOf } from '../../support/failure.js'
import { REGISTRY, startPlane, type TestPlane } from '../../support/plane.js'
import { json, reset, startServer } from '../../support/server.js'

const SENTINEL = 'upstream-body-sentinel'
const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const pem = (type: 'pkcs1' | 'pkcs8', key = keys.privateKey) => key.export({ type, format: 'pem' }).toString()
const APP = {
  appId: '77',
  installationId: '88',
  publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  permissions: { actions: 'write', contents: 'read' },
}

describe('parsePrivateKey', () => {
  const wanted = pem('pkcs8')
  const forms: [string, (text: string) => string][] = [
    ['as it is', (text) => text],
    ['with \\n for line breaks', (text) => text.replaceAll('\n', '\\n')],
    ['with CRLF', (text) => text.replaceAll('\n', '\r\n')],
    ['on one line with blanks', (text) => text.replaceAll('\n', ' ')],
    ['in quotes', (text) => `"${text}"`],
    ['in base64', (text) => Buffer.from(text).toString('base64')],
    ['in base64 of 76 columns', (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')],
  ]
  for (const [name, form] of forms) {
    it(`reads PKCS#1 and PKCS#8 ${name}`, () => {
      for (const type of ['pkcs1', 'pkcs8'] as const) expect(parsePrivateKey(form(pem(type)), 'X')).to.equal(wanted)
    })
  }

  it('reports the problem without any content of the key', () => {
    const text = pem('pkcs8')
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const locked = keys.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    for (const [given, words] of [
      ['', 'does not hold a private key'],
      ['secret-key-sentinel', 'does not hold a private key'],
      [keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'does not hold a private key'],
      [`${text.slice(0, 400)}\n-----END PRIVATE KEY-----`, 'cut off or damaged'],
      [locked.toString(), 'passphrase'],
      [ec.export({ type: 'pkcs8', format: 'pem' }).toString(), 'not an RSA key'],
    ] as const) {
      let error: ClawctlError | undefined
      try {
        parsePrivateKey(given, 'THE_VARIABLE')
      } catch (caught) {
        error = caught as ClawctlError
      }
      expect(error?.code).to.equal('NOT_CONFIGURED')
      expect(error?.message).to.include(words).and.include('THE_VARIABLE').and.not.include('sentinel')
    }
  })
})

describe('createGithubApp', () => {
  let plane: TestPlane
  let now: number
  before(async () => {
    plane = await startPlane({ app: APP })
  })
  after(() => plane.close())
  beforeEach(() => {
    now = Date.now()
    plane.seen.length = 0
    plane.answerAs(() => null)
  })

  const settings = (change: Partial<GithubAppSettings> = {}): GithubAppSettings => ({
    apiUrl: plane.githubUrl,
    appId: APP.appId,
    installationId: APP.installationId,
    privateKey: parsePrivateKey(pem('pkcs1'), 'KEY'),
    repositories: ['fleet'],
    permissions: { actions: 'write', contents: 'read' },
    clock: { now: () => new Date(now) },
    userAgent: 'clawctl/test',
    ...change,
  })
  const open = (change: Partial<GithubAppSettings> = {}) => createGithubApp(settings(change))
  const mints = () => plane.seen.filter(({ path }) => path.endsWith('/access_tokens'))
  const github = (app: ReturnType<typeof createGithubApp>) =>
    createGithub({
      ...app,
      apiUrl: plane.githubUrl,
      owner: 'acme',
      repo: 'fleet',
      workflow: 'fleet-deploy.yml',
      ref: 'main',
      userAgent: 'clawctl/test',
    })

  it('mints one token at a time with the needed permissions, and reuses it', async () => {
    const app = open()
    const tokens = await Promise.all([app.token(), app.token(), app.token()])
    expect(new Set(tokens).size).to.equal(1)
    expect(tokens[0]).to.match(/^ghs_/)
    expect(mints().map(({ path, body }) => [path, JSON.parse(body)])).to.deep.equal([
      [
        '/app/installations/88/access_tokens',
        { repositories: ['fleet'], permissions: { actions: 'write', contents: 'read' } },
      ],
    ])
    expect((await github(app).registry.read()).text).to.equal(JSON.stringify(REGISTRY))
    expect((await github(app).inspection.repository()).credential).to.deep.include({
      kind: 'app',
      permissions: { actions: 'write', contents: 'read', metadata: 'read' },
    })
    expect(mints()).to.have.length(1)
  })

  it('mints a new token five minutes before the end of the old one', async () => {
    const answer = { token: 'ghs_a', expires_at: new Date(now + 3_600_000).toISOString(), permissions: {} }
    plane.answerAs(() => ({ status: 201, body: JSON.stringify(answer) }))
    const app = open()
    await app.token()
    now += 54 * 60_000
    await app.token()
    expect(mints()).to.have.length(1)
    now += 2 * 60_000
    plane.answerAs(() => ({
      status: 201,
      body: JSON.stringify({ ...answer, token: 'ghs_b', expires_at: new Date(now + 3_600_000) }),
    }))
    expect(await app.token()).to.equal('ghs_b')
    expect(mints()).to.have.length(2)
  })

  it('mints one new token if GitHub refuses the current one, and starts one run', async () => {
    const app = open()
    const hub = github(app)
    await hub.list(1)
    plane.github.apps?.revokeAll()
    await hub.dispatch({ target: 'clawdinator-1', requestId: 'request-0001' })
    expect(mints()).to.have.length(2)
    expect(plane.github.runs).to.have.length(1)
    plane.answerAs(({ url }) => (url.pathname.includes('/runs') ? { status: 401, body: '{}' } : null))
    expect((await failureOf(hub.list(1))).code).to.equal('DENIED')
    expect(mints()).to.have.length(3)
  })

  it('has exactly the permissions that the token was minted for', async () => {
    const failure = await failureOf(
      github(open({ permissions: { contents: 'read' } })).dispatch({ target: 'x', requestId: 'request-0002' }),
    )
    expect([failure.code, failure.hint]).to.deep.equal([
      'DENIED',
      'The token needs actions: write and contents: read on this repository. GitHub asks for actions=write.',
    ])
  })

  it('mints for the Control API with its one repository and two permissions', async () => {
    const lambda = new Lambda(
      environment(plane, {
        GITHUB_TOKEN: undefined,
        GITHUB_APP_ID: APP.appId,
        GITHUB_APP_INSTALLATION_ID: APP.installationId,
        GITHUB_APP_PRIVATE_KEY: Buffer.from(pem('pkcs1')).toString('base64'),
      }),
    )
    const { status } = await lambda.deploy({ target: 'clawdinator-2', requestId: 'request-app-1' })
    const { preflight } = await lambda.get('/v1/preflight')
    const checks = preflight.checks.filter(({ id }) => id.startsWith('github-'))
    expect([status, ...checks.map((check) => check.status)]).to.deep.equal([202, 'pass', 'pass'])
    expect(mints().map(({ body }) => JSON.parse(body))).to.deep.equal([
      { repositories: ['fleet'], permissions: { actions: 'write', contents: 'read' } },
    ])
    expect(lambda.lines.join('\n')).not.to.match(/ghs_|PRIVATE KEY/)
  })

  it('does not cache a failure', async () => {
    const app = open()
    plane.answerAs(() => ({ status: 404, body: '{}' }))
    await failureOf(app.token())
    plane.answerAs(() => null)
    expect(await app.token()).to.match(/^ghs_/)
  })

  it('names what a maintainer has to fix', async () => {
    const cases: [Partial<GithubAppSettings>, string][] = [
      [{ privateKey: parsePrivateKey(pem('pkcs8', other), 'KEY') }, 'GITHUB_APP_PRIVATE_KEY'],
      [{ appId: '1' }, 'GITHUB_APP_ID'],
      [{ installationId: '1' }, 'GITHUB_APP_INSTALLATION_ID'],
      [{ repositories: ['other'] }, 'Add the repository'],
      [{ permissions: { administration: 'write' } }, 'administration: write'],
      [{ clock: { now: () => new Date(now + 900_000) } }, '900 s ahead'],
      [{ clock: { now: () => new Date(now - 900_000) } }, '900 s behind'],
    ]
    for (const [change, words] of cases) {
      const failure = await failureOf(open(change).token())
      expect(failure.code).to.equal('DENIED')
      const said = `${failure.message} ${failure.hint}`.replace(/\b(89\d|90\d) s/, '900 s')
      expect(said).to.include(words).and.not.include('PRIVATE KEY-----')
    }
    plane.answerAs(() => ({ status: 403, body: '{"message":"This installation has been suspended"}' }))
    expect((await failureOf(open().token())).message).to.include('suspended')
    plane.answerAs(() => ({ status: 403, headers: { 'retry-after': '60' }, body: '{}' }))
    expect((await failureOf(open().token())).code).to.equal('RATE_LIMITED')
    plane.answerAs(() => ({ status: 201, body: JSON.stringify({ token: SENTINEL }) }))
    const odd = await failureOf(open().token())
    expect([odd.code, odd.message.includes(SENTINEL)]).to.deep.equal(['UPSTREAM', false])
  })

  it('retries transient failures, and reports an outage', async () => {
    const token = { token: 'ghs_a', expires_at: '2100-01-01T00:00:00Z' }
    const server = await startServer(reset, json(502, { message: SENTINEL }), json(201, token), reset)
    try {
      const [good, bad] = [
        open({ apiUrl: server.url }),
        open({ apiUrl: server.url, retries: { attempts: 1, attemptMs: 500 } }),
      ]
      expect(await good.token()).to.equal('ghs_a')
      const failure = await failureOf(bad.token())
      expect([failure.code, failure.message.includes(SENTINEL)]).to.deep.equal(['UPSTREAM', false])
    } finally {
      await server.close()
    }
  })
})
