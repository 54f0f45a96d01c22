import { expect } from 'chai'
import { requestDeploy } from '../../src/lib/ops/deploy/requestDeploy.js'
import { failureOf } from '../support/failure.js'
import { FakeProgress } from '../support/fakes.js'
import { REGISTRY, startPlane, type TestPlane } from '../support/plane.js'
import { type Answer, type Env, environment, event, Lambda, PREVIOUS, TOKEN } from './invoke.js'

const APP: Env = {
  GITHUB_TOKEN: undefined,
  GITHUB_APP_ID: '1',
  GITHUB_APP_INSTALLATION_ID: '2',
  GITHUB_APP_PRIVATE_KEY: 'x',
}

describe('Control API: refusals', () => {
  let plane: TestPlane
  let lambda: Lambda
  before(async () => {
    plane = await startPlane()
  })
  after(() => plane.close())
  beforeEach(() => {
    lambda = new Lambda(environment(plane))
    plane.requests.length = 0
    plane.seen.length = 0
  })
  afterEach(() => {
    expect(plane.dispatches()).to.deep.equal([])
    expect(plane.github.runs).to.deep.equal([])
  })

  /** Status and code, and that no service got a request. */
  const early = (answer: Answer) => {
    expect(plane.requests).to.deep.equal([])
    return [answer.status, answer.code]
  }

  describe('authentication', () => {
    const wrong: [string, Record<string, unknown> | undefined][] = [
      ['no headers at all', undefined],
      ['no authorization', {}],
      ['an empty authorization', { authorization: '' }],
      ['a token without its scheme', { authorization: TOKEN }],
      ['another scheme', { authorization: `Basic ${TOKEN}` }],
      ['a scheme without a token', { authorization: 'Bearer ' }],
      ['another token', { authorization: 'Bearer wrong' }],
      ['the beginning of the token', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
      ['the token with more text', { authorization: `Bearer ${TOKEN}x` }],
      ['two tokens', { authorization: `Bearer ${TOKEN} ${PREVIOUS}` }],
      ['the token in another case', { authorization: `Bearer ${TOKEN.toUpperCase()}` }],
      ['a header that is an array', { authorization: [`Bearer ${TOKEN}`] }],
      ['a header that is an object', { authorization: { Bearer: TOKEN } }],
      ['a token of a megabyte', { authorization: `Bearer ${'x'.repeat(1 << 20)}` }],
    ]
    for (const [name, headers] of wrong) {
      it(`refuses ${name} for every request`, async () => {
        for (const [method, path] of [
          ['POST', '/v1/deploys'],
          ['GET', '/v1/fleet'],
          ['GET', '/nowhere'],
        ] as const) {
          const body = JSON.stringify({ target: 'clawdinator-1' })
          expect(early(await lambda.send(event(method, path, { headers, body })))).to.deep.equal([401, 'UNAUTHORIZED'])
        }
      })
    }

    it('accepts no token if the configured one is empty or missing', async () => {
      for (const CONTROL_API_TOKEN of ['', undefined]) {
        const open = new Lambda(environment(plane, { CONTROL_API_TOKEN, CONTROL_API_TOKEN_PREVIOUS: '' }))
        for (const authorization of ['', 'Bearer ', 'Bearer', 'Bearer undefined', 'Bearer x', `Bearer ${TOKEN}`]) {
          const answer = await open.send(event('GET', '/v1/fleet', { headers: { authorization } }))
          expect(early(answer)).to.deep.equal([401, 'UNAUTHORIZED'])
        }
      }
    })

    it('names a missing setting only to an authenticated caller', async () => {
      const cases: [Env, string][] = [
        [{ GITHUB_TOKEN: undefined }, 'GITHUB_TOKEN'],
        [{ GITHUB_TOKEN: '' }, 'GITHUB_TOKEN'],
        [{ AWS_REGION: undefined }, 'AWS_REGION'],
        [{ GITHUB_REPO: 'no-slash' }, 'GITHUB_REPO'],
        [{ GITHUB_WORKFLOW: '../../x.yml' }, 'GITHUB_WORKFLOW'],
        [{ GITHUB_API_URL: 'not a url' }, 'GITHUB_API_URL'],
        [{ CONTROL_API_REUSE_MS: '-1' }, 'CONTROL_API_REUSE_MS'],
        [{ GITHUB_APP_ID: '1' }, 'GITHUB_TOKEN and GITHUB_APP_ID are both set; set one of them'],
        [{ GITHUB_TOKEN: undefined, GITHUB_APP_ID: '1' }, 'GITHUB_APP_INSTALLATION_ID, GITHUB_APP_PRIVATE_KEY'],
        [{ ...APP, GITHUB_APP_PRIVATE_KEY: 'key-sentinel' }, 'GITHUB_APP_PRIVATE_KEY'],
        [{ ...APP, GITHUB_APP_INSTALLATION_ID: 'x' }, 'GITHUB_APP_INSTALLATION_ID'],
      ]
      for (const [change, name] of cases) {
        const broken = new Lambda(environment(plane, change))
        const answer = await broken.get('/v1/fleet')
        expect(early(answer)).to.deep.equal([500, 'NOT_CONFIGURED'])
        expect(answer.message).to.include(name).and.not.include('sentinel')
        const unauthorized = await broken.send(event('GET', '/v1/fleet', { headers: { authorization: 'Bearer x' } }))
        expect(early(unauthorized)).to.deep.equal([401, 'UNAUTHORIZED'])
        expect(unauthorized.text).not.to.include(name)
      }
    })
  })

  describe('policy', () => {
    const registry = Object.entries(REGISTRY).map(([id, entry]) => ({ id, ...entry }))
    const bot = { caller: 'clawdinator-1' }
    const person = { ...bot, requestedBy: 'Jo' }
    const cases: [string, Record<string, string>, number, string][] = [
      ['a bot that deploys itself', { target: 'clawdinator-1', ...bot }, 403, 'SELF_DEPLOY'],
      ['a person who deploys the host of their chat', { target: 'clawdinator-1', ...person }, 403, 'SELF_DEPLOY'],
      ['all for a bot', { target: 'all', ...bot }, 403, 'BOT_DEPLOY_ALL'],
      ['a target of the wrong form', { target: 'Clawdinator 1' }, 400, 'INVALID_TARGET'],
      ['an empty target', { target: '' }, 400, 'INVALID_TARGET'],
      ['an AMI of the wrong form', { target: 'clawdinator-2', amiOverride: 'ami-123' }, 400, 'INVALID_AMI'],
      ['an AMI in capitals', { target: 'clawdinator-2', amiOverride: 'ami-0AAAAAAAAAAAAAAA1' }, 400, 'INVALID_AMI'],
    ]
    for (const [name, body, status, code] of cases) {
      it(`refuses ${name} as the CLI does, before any request to GitHub`, async () => {
        const answer = await lambda.deploy(body)
        expect(early(answer)).to.deep.equal([status, code])
        const cli = await failureOf(
          requestDeploy(
            {
              target: body.target ?? '',
              requestId: 'request-0001',
              amiOverride: body.amiOverride,
              requestedBy: body.requestedBy,
              caller: body.caller,
            },
            {
              planOnly: false,
              onFailure: undefined,
              wait: false,
              waitTimeoutMs: 1,
              healthTimeoutMs: undefined,
              code: undefined,
            },
            {
              mode: 'agent',
              inRun: false,
              registry,
              progress: new FakeProgress(),
              plane: () => Promise.reject(new Error('the CLI did not refuse')),
            },
          ),
        )
        expect([cli.code, cli.message]).to.deep.equal([answer.code, answer.message])
      })
    }

    it('retires only for people, and only instances that have left the registry', async () => {
      const retire = async (body: object) => {
        const { status, code } = await lambda.deploy({ target: 'clawdinator-3', retire: true, ...body })
        return [status, code]
      }
      expect(await retire(bot)).to.deep.equal([403, 'BOT_RETIRE'])
      expect(await retire({ target: 'clawdinator-2', ...person })).to.deep.equal([409, 'STILL_REGISTERED'])
      expect(await retire({ target: 'all', ...person })).to.deep.equal([400, 'INVALID_TARGET'])
      expect(await retire(person)).to.deep.equal([404, 'UNKNOWN_TARGET'])
      expect((await lambda.deploy({ target: 'a', retired: true })).hint).to.match(
        /\bretire, strategy, configRevision\.$/,
      )
    })

    it('refuses a target that the registry at the deployed ref lacks, and suggests the nearest', async () => {
      const answer = await lambda.deploy({ target: 'clawdinator-3' })
      expect([answer.status, answer.code]).to.deep.equal([404, 'UNKNOWN_TARGET'])
      expect(answer.hint).to.match(/^Did you mean clawdinator-[12]\?$/)
      expect(plane.seen.map(({ path }) => path)).to.include('/repos/acme/fleet/contents/nix/instances.json?ref=main')
    })

    it('refuses every deploy while the registry is invalid, and names the entry', async () => {
      plane.writeRegistry('{"clawdinator-1": {"host": 7}}')
      try {
        const answer = await lambda.deploy({ target: 'clawdinator-1' })
        expect([answer.status, answer.code]).to.deep.equal([422, 'INVALID_REGISTRY'])
        expect(answer.message).to.match(/^acme\/fleet@main:nix\/instances\.json:1:\d+: clawdinator-1: /)
      } finally {
        plane.writeRegistry(JSON.stringify(REGISTRY))
      }
    })
  })

  describe('bodies', () => {
    const big = JSON.stringify({ target: 'clawdinator-1', requestedBy: 'x'.repeat(16 * 1024) })
    const notUtf8 = Buffer.from('{"target":"clawdinator-1","requestedBy":"\xff"}', 'latin1')
    const deep = `${'{"a":'.repeat(1300)}1${'}'.repeat(1300)}`
    const cases: [string, Record<string, unknown>, number][] = [
      ['none', { body: undefined }, 400],
      ['null', { body: null }, 400],
      ['empty', { body: '' }, 400],
      ['not JSON', { body: 'target=clawdinator-1' }, 400],
      ['JSON that is not an object', { body: '["clawdinator-1"]' }, 400],
      ['JSON null', { body: 'null' }, 400],
      ['without a target', { body: '{}' }, 400],
      ['with an unknown field', { body: '{"target":"clawdinator-1","tarket":"x"}' }, 400],
      ['with a target that is not text', { body: '{"target":["all"]}' }, 400],
      ['with null for an optional field', { body: '{"target":"clawdinator-1","caller":null}' }, 400],
      ['with a caller of the wrong form', { body: '{"target":"clawdinator-1","caller":"A B"}' }, 400],
      ['with a name of two lines', { body: '{"target":"clawdinator-1","requestedBy":"a\\nb"}' }, 400],
      [
        'with a name that changes the direction of text',
        { body: '{"target":"clawdinator-1","requestedBy":"a\\u202eb"}' },
        400,
      ],
      ['with a short request id', { body: '{"target":"clawdinator-1","requestId":"short"}' }, 400],
      ['with a path as request id', { body: '{"target":"clawdinator-1","requestId":"../../../x"}' }, 400],
      ['with __proto__', { body: '{"target":"clawdinator-1","__proto__":{"requestedBy":"Jo"}}' }, 400],
      ['with constructor', { body: '{"target":"clawdinator-1","constructor":{"prototype":{}}}' }, 400],
      ['not UTF-8', { body: notUtf8.toString('base64'), isBase64Encoded: true }, 400],
      ['invalid base64', { body: '%%%', isBase64Encoded: true }, 400],
      ['deep', { body: deep }, 400],
      [
        'overlong UTF-8',
        { body: Buffer.from([0x22, 0xc0, 0xaf, 0x22]).toString('base64'), isBase64Encoded: true },
        400,
      ],
      ['a lone surrogate', { body: '{"target":"clawdinator-1","requestedBy":"\ud800"}' }, 400],
      ['an escaped lone surrogate', { body: '{"target":"clawdinator-1","requestedBy":"\\ud800"}' }, 400],
      ['base64 with additional text', { body: 'eyJ0YXJnZXQiOiJ4In0=!', isBase64Encoded: true }, 400],
      ['base64 that ends inside a byte', { body: 'eyJ0YXJnZXQiOiJ4In0=='.slice(0, -4), isBase64Encoded: true }, 400],
      ['long text that is not base64', { body: '%'.repeat(1 << 20), isBase64Encoded: true }, 413],
      ['one byte larger than 16 KiB', { body: '{"target":"x"}'.padEnd(16 * 1024 + 1) }, 413],
      ['larger than 16 KiB', { body: big }, 413],
      ['larger than 16 KiB in base64', { body: Buffer.from(big).toString('base64'), isBase64Encoded: true }, 413],
      ['16 KiB of two-byte letters', { body: 'ü'.repeat(8193) }, 413],
    ]
    for (const [name, more, status] of cases) {
      it(`refuses a body that is ${name}`, async () => {
        const code = status === 413 ? 'PAYLOAD_TOO_LARGE' : 'INVALID_REQUEST'
        const answer = await lambda.send(event('POST', '/v1/deploys', more))
        expect(early(answer)).to.deep.equal([status, code])
        expect(answer.text.length).to.be.below(1000)
      })
    }

    it('reports every problem in one answer of limited size', async () => {
      const body = { target: 7, caller: 'A B', requestedBy: '', requestId: 'x', ['y'.repeat(9_999)]: 1, z: 2 }
      const answer = await lambda.deploy(body)
      expect(early(answer)).to.deep.equal([400, 'INVALID_REQUEST'])
      for (const name of ['target', 'caller', 'requestedBy', 'requestId', '"z"'])
        expect(answer.message).to.include(name)
      expect(answer.hint).to.include('amiOverride')
      expect(answer.text.length).to.be.below(800)
      const many = await lambda.deploy(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`field${n}`, n])))
      expect(many.message).to.include('and 495 more')
      expect(many.text.length).to.be.below(800)
    })

    it('reads a body with a byte order mark, and with any content type', async () => {
      const asked = '\ufeff{"target":"clawdinator-1","caller":"clawdinator-1"}'
      const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'text/plain' }
      expect(early(await lambda.send(event('POST', '/v1/deploys', { body: asked, headers })))).to.deep.equal([
        403,
        'SELF_DEPLOY',
      ])
    })

    it('reads base64, and a body of exactly 16 KiB', async () => {
      const asked = JSON.stringify({ target: 'clawdinator-1', caller: 'clawdinator-1' }).padEnd(16 * 1024)
      for (const more of [{ body: asked }, { body: Buffer.from(asked).toString('base64'), isBase64Encoded: true }]) {
        expect(early(await lambda.send(event('POST', '/v1/deploys', more)))).to.deep.equal([403, 'SELF_DEPLOY'])
      }
    })
  })

  describe('events', () => {
    it('refuses unknown routes and methods', async () => {
      for (const [method, path, status, code] of [
        ['POST', '/', 404, 'NOT_FOUND'],
        ['GET', '/v1', 404, 'NOT_FOUND'],
        ['GET', '/v1/fleet/', 404, 'NOT_FOUND'],
        ['POST', '/v2/deploys', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/a/b', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/..%2f..%2fstate', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/short', 404, 'NOT_FOUND'],
        ['DELETE', '/v1/deploys', 405, 'METHOD_NOT_ALLOWED'],
        ['PUT', '/v1/deploys/request-0001', 405, 'METHOD_NOT_ALLOWED'],
        ['POST', '/v1/fleet', 405, 'METHOD_NOT_ALLOWED'],
        ['HEAD', '/v1/fleet', 405, 'METHOD_NOT_ALLOWED'],
        ['OPTIONS', '/v1/fleet', 405, 'METHOD_NOT_ALLOWED'],
        ['POST', '/v1/preflight', 405, 'METHOD_NOT_ALLOWED'],
        ['GET', '//v1/fleet', 404, 'NOT_FOUND'],
        ['GET', '/v1//fleet', 404, 'NOT_FOUND'],
        ['GET', '/v1%2Ffleet', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/%', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/%00request', 404, 'NOT_FOUND'],
        ['GET', '/v1/deploys/constructor%2Fx', 404, 'NOT_FOUND'],
      ] as const) {
        expect([path, ...early(await lambda.send(event(method, path)))]).to.deep.equal([path, status, code])
      }
      expect((await lambda.send(event('DELETE', '/v1/deploys'))).message).to.include('POST, GET')
    })

    it('names unknown and repeated parameters', async () => {
      for (const [path, word] of [
        ['/v1/fleet?all=1', '"all"'],
        ['/v1/deploys?limt=1', '"limt"'],
        ['/v1/deploys?limit=1&limit=2', 'twice'],
        ['/v1/deploys?limit=0x10', 'limit'],
        ['/v1/deploys?limit=1e1', 'limit'],
        ['/v1/deploys?__proto__=1', '"__proto__"'],
        ['/v1/deploys?%ff=1', 'unknown parameter'],
      ] as const) {
        const answer = await lambda.get(path)
        expect([path, ...early(answer)]).to.deep.equal([path, 400, 'INVALID_REQUEST'])
        expect(answer.message).to.include(word)
      }
    })

    it('answers NOT_FOUND for a deploy that was never requested', async () => {
      const answer = await lambda.get('/v1/deploys/request-never')
      expect([answer.status, answer.code]).to.deep.equal([404, 'NOT_FOUND'])
    })

    for (const odd of [null, undefined, 7, 'event', true, [], {}, [null], { headers: null }, { headers: [] }]) {
      it(`answers ${JSON.stringify(odd)} as a request without a token`, async () => {
        expect(early(await lambda.send(odd))).to.deep.equal([401, 'UNAUTHORIZED'])
      })
    }

    it('answers an event that contains only the token', async () => {
      const headers = { authorization: `Bearer ${TOKEN}` }
      expect(early(await lambda.send({ headers }))).to.deep.equal([404, 'NOT_FOUND'])
      const bare = { headers, rawPath: '/v1/fleet' }
      expect(early(await lambda.send(bare))).to.deep.equal([405, 'METHOD_NOT_ALLOWED'])
    })
  })
})
