import { expect } from 'chai'
import { createControlApi } from '../../../src/lib/adapters/deploy/controlApi.js'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { failureOf } from '../../support/failure.js'
import { html, json, type Responder, reset, startServer, type TestServer } from '../../support/server.js'

const TOKEN = 'cct_client_secret'
const FLEET = { latestAmi: null, instances: [] }
const DEPLOY: Deploy = {
  requestId: 'request-0001',
  target: 'all',
  ami: null,
  amiOverride: null,
  caller: null,
  requestedBy: null,
  status: 'queued',
  waitsFor: null,
  queuePosition: 1,
  runId: 1,
  runUrl: 'https://x/1',
  createdAt: null,
  startedAt: null,
  finishedAt: null,
  durationMs: null,
  hosts: [],
  error: null,
}
const refusal = (code: string) => ({ ok: false, error: { code, message: `it said ${code}`, hint: 'do that' } })

describe('createControlApi', () => {
  const servers: TestServer[] = []
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.close()))
  })

  const open = async (...responders: [Responder, ...Responder[]]) => {
    const server = await startServer(...responders)
    servers.push(server)
    return { server, api: createControlApi({ url: `${server.url}/`, token: TOKEN, userAgent: 'clawctl/test' }) }
  }

  /** The failure of reading the fleet, and the number of requests to the server. */
  const refused = async (...responders: [Responder, ...Responder[]]) => {
    const { server, api } = await open(...responders)
    const error = await failureOf(api.fleet())
    const text = `${error.message} ${error.hint}`
    expect(text).not.to.include(TOKEN).and.not.include('foreign-page-sentinel')
    return { code: error.code, text, times: server.received.length, host: server.host, error }
  }

  it('requests each route with the token only in the header', async () => {
    const { server, api } = await open(
      json(200, { ok: true, fleet: FLEET }),
      json(202, { ok: true, deploy: DEPLOY }),
      json(200, { ok: true, deploys: [DEPLOY] }),
      json(200, { ok: true, deploy: { ...DEPLOY, steps: [] } }),
    )
    const request = { target: 'all', requestId: 'request-0001' }
    expect(await api.fleet()).to.deep.equal(FLEET)
    expect(await api.createDeploy(request)).to.deep.equal(DEPLOY)
    expect((await api.deploys({ limit: 3 })).deploys).to.deep.equal([DEPLOY])
    expect(await api.deploy('a/../b')).to.deep.equal({ deploy: { ...DEPLOY, steps: [] }, version: null })
    expect(server.received.map(({ method, url, body }) => [method, url, body])).to.deep.equal([
      ['GET', '/v1/fleet', ''],
      ['POST', '/v1/deploys', JSON.stringify(request)],
      ['GET', '/v1/deploys?limit=3', ''],
      ['GET', '/v1/deploys/a%2F..%2Fb', ''],
    ])
    for (const { headers } of server.received) {
      expect(headers).to.include({ authorization: `Bearer ${TOKEN}`, 'user-agent': 'clawctl/test' })
    }
    expect(server.received[1]?.headers['content-type']).to.equal('application/json')
  })

  for (const [status, code] of [
    [401, 'UNAUTHORIZED'],
    [403, 'SELF_DEPLOY'],
    [404, 'UNKNOWN_TARGET'],
    [409, 'REQUEST_CONFLICT'],
    [429, 'RATE_LIMITED'],
    [500, 'NOT_CONFIGURED'],
    [502, 'UPSTREAM'],
  ] as const) {
    it(`passes on the contract's code ${code} without a retry`, async () => {
      const { times, error } = await refused(json(status, refusal(code)))
      expect(error).to.include({ code, message: `it said ${code}`, hint: 'do that' })
      expect(times).to.equal(1)
    })
  }

  it('reports repeatedly what it waits for', async () => {
    const said: string[] = []
    let answer = () => {}
    const server = await startServer((response) => {
      answer = () => response.end(JSON.stringify({ ok: true, fleet: FLEET }))
    })
    servers.push(server)
    const api = createControlApi({
      ...{ url: server.url, token: TOKEN, userAgent: 'clawctl/test', noticeMs: 5 },
      onWait: (text) => {
        said.push(text)
        if (said.length > 2) answer()
      },
    })
    expect(await api.fleet()).to.deep.equal(FLEET)
    expect(said[0]).to.match(new RegExp(`^Waiting for ${server.host} \\(\\d+ s\\)\\.$`))
  })

  it('ends the pause before a retry where it is interrupted, and sends nothing more', async () => {
    let isAnswered = false
    const stop = new AbortController()
    const server = await startServer((response) => {
      response.on('finish', () => {
        isAnswered = true
      })
      response.writeHead(429, { 'retry-after': '9' }).end('busy')
    })
    servers.push(server)
    const api = createControlApi({
      ...{ url: server.url, token: TOKEN, userAgent: 'clawctl/test', noticeMs: 50 },
      interruption: () => stop.signal,
      onWait: () => isAnswered && stop.abort(),
    })
    const started = performance.now()
    expect(await failureOf(api.fleet())).to.include({ code: 'CANCELLED', hint: undefined })
    expect(performance.now() - started).to.be.below(9_000)
    const { code, hint } = await failureOf(api.freeze({ target: 'all', reason: 'x', forSeconds: 60 }))
    expect([code, hint]).to.deep.equal([
      'CANCELLED',
      'The Control API may have received the request: check with `clawctl fleet status`.',
    ])
    expect(server.received).to.have.length(1)
  })

  it('survives two transient failures of each kind, also of a POST', async () => {
    await Promise.all(
      [html(502, 'Internal Server Error'), html(503), json(429, { Reason: 'Concurrency' }), reset].map(async (bad) => {
        const { server, api } = await open(bad, bad, json(202, { ok: true, deploy: DEPLOY }))
        expect((await api.createDeploy({ target: 'all', requestId: 'request-0001' })).runId).to.equal(1)
        expect(new Set(server.received.map(({ body }) => body)).size).to.equal(1)
        expect(server.received).to.have.length(3)
      }),
    )
  })

  it('gives up after three attempts, and reports the last failure', async () => {
    const { server, api } = await open(reset)
    await server.close()
    const [gateway, busy, dropped, absent] = await Promise.all([
      refused(html(502)),
      refused(html(429)),
      refused(reset),
      failureOf(api.fleet()),
    ])
    expect(absent.code).to.equal('UPSTREAM')
    expect(absent.message).to.include(`${server.host} could not be reached (ECONNREFUSED)`)
    expect(gateway).to.include({ code: 'UPSTREAM', times: 3 })
    expect(gateway.text).to.include('HTTP 502').and.include(gateway.host)
    expect(busy).to.include({ code: 'RATE_LIMITED', times: 3 })
    expect(dropped).to.include({ code: 'UPSTREAM', times: 3 })
    expect(dropped.text).to.include('ECONNRESET').and.include(dropped.host)
  })

  it("does not retry failures that a retry can't solve", async () => {
    for (const [responder, word] of [
      [html(404), 'HTTP 404'],
      [html(301), 'HTTP 301'],
      [html(403), 'HTTP 403'],
      [html(200), 'is not from the Control API'],
      [json(200, { ok: true }), 'is not from the Control API'],
      [json(200, { ok: true, fleet: { instances: 'none' } }), 'is not from the Control API'],
      [json(400, { ok: false, error: { code: 'NEVER_HEARD', message: 'a newer word' } }), 'a newer word'],
      [json(400, { ok: false, error: { code: 'UPSTREAM' } }), 'HTTP 400'],
    ] as const) {
      const { code, text, times } = await refused(responder)
      expect([code, times]).to.deep.equal(['UPSTREAM', 1])
      expect(text).to.include(word)
    }
  })
})
