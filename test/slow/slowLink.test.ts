import { spawn, spawnSync } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'

/** Why this machine can't simulate a slow link; null if it can. */
function hindrance(): string | null {
  if (process.platform !== 'linux') return 'this is no Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (spawnSync('python3', ['-c', 'open("/dev/net/tun")']).status !== 0) return 'python3 or /dev/net/tun is missing'
  if (spawnSync('ip', ['netns', 'list']).status !== 0) return '`ip netns` does not work'
  return null
}

describe('a link of 1 s round trip on which 5% of the packets are lost', function () {
  this.timeout(120_000)
  let server: Server
  let port: number
  before(async function () {
    const reason = hindrance()
    if (reason) {
      process.stdout.write(`    skipped: ${reason}\n`)
      this.skip()
    }
    server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ ok: true, fleet: { latestAmi: null, instances: [] } }))
    })
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve))
    port = (server.address() as AddressInfo).port
  })
  after(() => {
    server?.closeAllConnections()
    server?.close()
  })

  const ask = (env: Record<string, string>, ...more: string[]) =>
    new Promise<{ code: number | null; text: string }>((resolve) => {
      const client = [process.execPath, '--import', 'tsx', join(ROOT, 'test/support/slowLinkClient.ts'), String(port)]
      const link = [join(ROOT, 'test/support/slowLink.py'), '1', more.includes('plain') ? '0' : '0.05', '--']
      const child = spawn('python3', [...link, ...client, ...more], { cwd: ROOT, env: { ...process.env, ...env } })
      let text = ''
      child.stdout.on('data', (chunk) => {
        text += chunk
      })
      child.stderr.on('data', (chunk) => {
        text += chunk
      })
      child.on('close', (code) => resolve({ code, text }))
    })

  it("is too slow for Node's defaults, so that the next tests can fail", async () => {
    expect(await ask({}, 'plain')).to.deep.equal({ code: 1, text: 'ETIMEDOUT' })
  })

  it('is fast enough for a Function URL whose IPv6 addresses have no route', async () => {
    expect(await ask({})).to.deep.equal({ code: 0, text: '0 instances' })
  })

  it('is fast enough if the IPv6 route leads nowhere', async () => {
    expect(await ask({ DEAD_IPV6: '1' })).to.deep.equal({ code: 0, text: '0 instances' })
  })
})
