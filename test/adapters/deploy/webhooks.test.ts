import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { createWebhooks } from '../../../src/lib/adapters/deploy/webhooks.js'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { webhookKind } from '../../../src/lib/domain/deploy/announcement.js'

const SECRET = 'ghp_0123456789abcdefghij'
const deploy: Deploy = {
  ...{
    requestId: 'request-0001',
    target: 'clawdinator-2',
    amiOverride: null,
    caller: 'clawdinator-1',
    requestedBy: 'Jo',
  },
  ...{ ami: 'ami-1', status: 'rolled-back', waitsFor: null, queuePosition: null, runId: 1, durationMs: 1000 },
  ...{ runUrl: 'https://github.example/runs/1', createdAt: 'x', startedAt: 'x', finishedAt: 'y' },
  hosts: [
    {
      ...{ id: 'clawdinator-2', outcome: 'rolled-back', ami: 'ami-0', previousAmi: 'ami-0', instanceId: 'i-1' },
      reason: `@everyone its token is ${SECRET}`,
    },
  ],
  error: { code: 'ROLLED_BACK', message: 'clawdinator-2 is rolled back.' },
}

describe('webhooks', () => {
  let received: { url: string; body: string }[]
  let statuses: number[]
  let server: ReturnType<typeof createServer>
  let base: string
  beforeEach(async () => {
    received = []
    statuses = []
    server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      received.push({ url: request.url ?? '', body })
      const status = statuses.shift() ?? 204
      response.writeHead(status, status === 429 ? { 'retry-after': '9' } : {}).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => server.close())

  it('are recognised by their address, and only with https', () => {
    expect(webhookKind('https://discord.com/api/webhooks/1/x')).to.equal('discord')
    expect(webhookKind('https://api.telegram.org/bot1:x/sendMessage?chat_id=-1')).to.equal('telegram')
    expect(webhookKind('https://ops.example/hook')).to.equal('json')
    for (const bad of ['http://ops.example/hook', 'ftp://x/', 'nothing', '']) expect(webhookKind(bad)).to.equal(null)
  })

  it('get one message each in their own format: outcome, reason, requester and link, without secrets', async () => {
    const urls = `${base}/api/webhooks/1/x\n${base}/bot1:x/sendMessage?chat_id=-1  ${base}/hook`
    expect(await createWebhooks(urls, 'clawctl/test')(deploy)).to.deep.equal([])
    const byUrl = Object.fromEntries(received.map(({ url, body }) => [url, JSON.parse(body)]))
    expect(Object.keys(byUrl)).to.have.length(3)
    const { content, allowed_mentions } = byUrl['/api/webhooks/1/x']
    expect(allowed_mentions).to.deep.equal({ parse: [] })
    for (const words of [
      'rolled back',
      'clawdinator-2 is rolled back.',
      'Jo (claimed) via clawdinator-1 (claimed)',
      deploy.runUrl,
    ]) {
      expect(content).to.include(words)
    }
    expect(byUrl['/bot1:x/sendMessage?chat_id=-1'].text).to.equal(content)
    expect(byUrl['/hook']).to.deep.include({ event: 'deploy-ended', text: content })
    expect(byUrl['/hook'].deploy).to.include({ status: 'rolled-back', requestedBy: 'Jo' })
    expect(received.map(({ body }) => body).join('')).not.to.include(SECRET)
  })

  it('get their message even if a reason contains text like a token', async () => {
    const [host] = deploy.hosts
    const hosts = host ? [{ ...host, reason: 'it answered "401" to Bearer abcdef' }] : []
    expect(await createWebhooks(`${base}/hook`, 'clawctl/test')({ ...deploy, hosts })).to.deep.equal([])
    const { deploy: sent } = JSON.parse(received[0]?.body ?? '')
    expect(sent.hosts[0].reason).to.equal('it answered "401" to Bearer [removed]')
  })

  it('name no requester for a deploy with the shared token', async () => {
    const unnamed = { ...deploy, caller: null, requestedBy: null }
    await createWebhooks(`${base}/hook`, 'clawctl/test')(unnamed)
    expect(JSON.parse(received[0]?.body ?? '').text).to.include('requested by unknown (shared token)')
  })

  it('get three attempts; a failure is reported without the address', async () => {
    statuses = [500, 500, 204]
    expect(await createWebhooks(`${base}/hook`, 'clawctl/test')(deploy)).to.deep.equal([])
    expect(received).to.have.length(3)
    statuses = [503, 503, 503, 404]
    const urls = `${base}/hook/secret-path`
    const [problem] = await createWebhooks(urls, 'clawctl/test')(deploy)
    expect(problem).to.equal(`webhook 1 (${new URL(base).host}): HTTP 503`)
    expect(received).to.have.length(6)
    expect(await createWebhooks(`${urls} http://elsewhere.example/x`, 'clawctl/test')(deploy)).to.have.length(2)
    expect(received, 'a refusal is not tried again').to.have.length(7)
  })

  it('are not waited for where the command is interrupted, and get the outcome of one that was before', async () => {
    statuses = [429, 204]
    const stop = new AbortController()
    server.on('request', (_request, response) => response.on('finish', () => setImmediate(() => stop.abort())))
    const announce = createWebhooks(`${base}/hook`, 'clawctl/test', stop.signal)
    const started = performance.now()
    expect(await announce(deploy)).to.deep.equal([`webhook 1 (${new URL(base).host}): it was interrupted`])
    expect(performance.now() - started).to.be.below(9_000)
    expect(await announce(deploy)).to.deep.equal([])
    expect(received).to.have.length(2)
  })
})
