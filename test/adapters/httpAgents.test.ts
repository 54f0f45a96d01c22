import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { createObjectStore } from '../../src/lib/adapters/aws/objectStore.js'
import { createCompute } from '../../src/lib/adapters/deploy/compute.js'
import { createControlApi } from '../../src/lib/adapters/deploy/controlApi.js'
import { createGithub } from '../../src/lib/adapters/github/runs.js'
import { httpRequest } from '../../src/lib/adapters/httpClient.js'
import { createSnapshots } from '../../src/lib/adapters/images/snapshots.js'
import { failureOf } from '../support/failure.js'
import { BUCKET, LATEST, REGION, ROOT, setEnv } from '../support/plane.js'
import { json, startServer, type TestServer } from '../support/server.js'

const run = promisify(execFile)
const IMAGES = `<DescribeImagesResponse><imagesSet><item><imageId>${LATEST}</imageId></item></imagesSet></DescribeImagesResponse>`
const NO_PROXIES = { HTTP_PROXY: undefined, HTTPS_PROXY: undefined, ALL_PROXY: undefined, NO_PROXY: undefined }

/** Every client that clawctl creates; each sends one request to the service below this address. */
const CLIENTS: Record<string, (url: string) => Promise<unknown>> = {
  'the Control API': (url) =>
    createControlApi({ url, token: 'cct_x', userAgent: 'clawctl/test' }).deploys({ limit: 1 }),
  GitHub: (apiUrl) =>
    createGithub({
      ...{ apiUrl, token: async () => 'ghp_x', owner: 'acme', repo: 'fleet', workflow: 'w.yml', ref: 'main' },
      userAgent: 'clawctl/test',
      retries: { attempts: 1, attemptMs: 2_000 },
    }).list(1),
  EC2: () => createCompute({ region: REGION, retries: { attempts: 1, attemptMs: 2_000 } }).fleetImages(),
  S3: () => createObjectStore({ region: REGION, bucket: BUCKET, retries: { attempts: 1, attemptMs: 2_000 } }).list('x'),
  'the signed PUT': () =>
    createSnapshots({ region: REGION, bucket: BUCKET, connections: 1, stop: new AbortController().signal }).putBlock({
      ...{ snapshotId: 'snap-0123456789abcdef0', index: 0, data: new Uint8Array(512), sha256: new Uint8Array(32) },
    }),
}

/** Sends a request; its result is not checked here. */
const asking = async (client: string, url: string) => {
  const restore = setEnv({
    ...{ AWS_ENDPOINT_URL_EC2: url, AWS_ENDPOINT_URL_S3: url, AWS_ENDPOINT_URL_EBS: url },
    ...{ AWS_ACCESS_KEY_ID: 'AKIAX', AWS_SECRET_ACCESS_KEY: 'not a secret' },
  })
  try {
    await CLIENTS[client]?.(url).catch(() => {})
  } finally {
    restore()
  }
}

describe('connections', () => {
  let server: TestServer
  let restore: () => void
  beforeEach(async () => {
    restore = setEnv(NO_PROXIES)
    server = await startServer((response) => response.end(IMAGES))
  })
  afterEach(async () => {
    restore()
    await server.close()
  })

  for (const client of Object.keys(CLIENTS)) {
    it(`allow each address of a name enough time for a slow link: ${client}`, async () => {
      const seen: unknown[] = []
      const { connect } = Socket.prototype
      Socket.prototype.connect = function (this: Socket, ...args: Parameters<typeof connect>) {
        const [first] = Array.isArray(args[0]) ? args[0] : args
        seen.push((first as { autoSelectFamilyAttemptTimeout?: number }).autoSelectFamilyAttemptTimeout)
        return connect.apply(this, args)
      } as typeof connect
      try {
        await asking(client, server.url)
      } finally {
        Socket.prototype.connect = connect
      }
      expect(server.received).not.to.deep.equal([])
      expect(new Set(seen)).to.deep.equal(new Set([2_500]))
    })
  }

  describe('through a proxy', () => {
    const asked: string[] = []
    const authorizations: (string | undefined)[] = []
    let backend: number
    const proxy = createServer((socket) => {
      socket.once('data', (head) => {
        const text = head.toString()
        asked.push(/^CONNECT (\S+) /.exec(text)?.[1] ?? text)
        authorizations.push(/^proxy-authorization: Basic (\S+)/im.exec(text)?.[1])
        const onward = connect(backend, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
        socket.pipe(onward).pipe(socket)
        for (const end of [socket, onward]) end.on('error', () => end.destroy())
      })
    })
    const proxyUrl = () => `http://jo:p%40ss@127.0.0.1:${(proxy.address() as AddressInfo).port}`
    before(() => new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve)))
    after(() => proxy.close())
    beforeEach(() => {
      asked.length = 0
      authorizations.length = 0
      backend = Number(new URL(server.url).port)
      process.env.HTTP_PROXY = proxyUrl()
    })

    for (const client of Object.keys(CLIENTS)) {
      it(`reaches a name that only the proxy resolves: ${client}`, async () => {
        await asking(client, 'http://service.fleet.example')
        expect(asked[0]).to.match(/^(?:fleet-bucket\.)?service\.fleet\.example:80$/)
        expect(authorizations[0]).to.equal(Buffer.from('jo:p@ss').toString('base64'))
        expect(server.received).not.to.deep.equal([])
      })
    }

    it('is not used for NO_PROXY names and for loopback addresses', async () => {
      process.env.NO_PROXY = '.fleet.example,other.example:80'
      for (const host of ['a.fleet.example', 'other.example']) {
        // The tests have no network, so this failure shows that the client did not use the proxy.
        const error = await httpRequest({ method: 'GET', url: `http://${host}/`, timeoutMs: 500 }).catch((e) => e)
        expect(String(error)).to.include('network is off')
      }
      expect((await httpRequest({ method: 'GET', url: server.url, timeoutMs: 2_000 })).status).to.equal(200)
      expect(asked).to.deep.equal([])
    })

    it('reads a proxy without a scheme as curl does, and refuses an invalid one', async () => {
      process.env.HTTP_PROXY = proxyUrl().replace('http://', '')
      expect((await httpRequest({ method: 'GET', url: 'http://x.example', timeoutMs: 2_000 })).status).to.equal(200)
      process.env.HTTP_PROXY = 'socks5://127.0.0.1:1'
      const error = await failureOf(httpRequest({ method: 'GET', url: 'http://x.example', timeoutMs: 2_000 }))
      expect(error).to.include({ code: 'NOT_CONFIGURED' })
    })

    it('names a proxy that refuses, without its password', async () => {
      const refusing = createServer((socket) => socket.end('HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n'))
      await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
      const { port } = refusing.address() as AddressInfo
      process.env.HTTP_PROXY = `http://jo:sentinel@127.0.0.1:${port}`
      const error = await httpRequest({ method: 'GET', url: 'http://x.example', timeoutMs: 2_000 }).catch((e) => e)
      expect(error.message).to.equal(
        `x.example through the proxy 127.0.0.1:${port} could not be reached (Bad response: 407)`,
      )
      refusing.close()
    })

    it('trusts only a certificate of NODE_EXTRA_CA_CERTS, over HTTPS', async function () {
      const folder = mkdtempSync(join(tmpdir(), 'clawctl-ca-'))
      try {
        const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
        const subject = ['-subj', '/CN=api.fleet.example', '-addext', 'subjectAltName=DNS:api.fleet.example']
        const made = [
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '1',
        ]
        try {
          await run('openssl', [...made, '-keyout', key, '-out', cert, ...subject])
        } catch {
          process.stdout.write('        skipped: openssl could not make a certificate\n')
          return this.skip()
        }
        const tls = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) =>
          response.end('{"ok":true,"deploys":[]}'),
        )
        await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve))
        backend = (tls.address() as AddressInfo).port
        const script = `import { createControlApi } from './src/lib/adapters/deploy/controlApi.ts'
          const api = createControlApi({ url: 'https://api.fleet.example', token: 't', userAgent: 'x' })
          console.log(await api.deploys({ limit: 1 }).then(({ deploys }) => deploys, (error) => error.message))`
        const ask = async (env: Record<string, string>) => {
          const { NODE_EXTRA_CA_CERTS: _, ...rest } = process.env
          const options = { cwd: ROOT, env: { ...rest, HTTPS_PROXY: proxyUrl(), ...env } }
          return (await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], options)).stdout
        }
        expect(await ask({ NODE_EXTRA_CA_CERTS: cert })).to.equal('[]\n')
        expect(await ask({})).to.match(
          /through the proxy 127\.0\.0\.1:\d+ could not be reached \(DEPTH_ZERO_SELF_SIGNED/,
        )
        expect(asked[0]).to.equal('api.fleet.example:443')
        tls.closeAllConnections()
        tls.close()
      } finally {
        rmSync(folder, { recursive: true })
      }
    })
  })
})

describe('a Retry-After', () => {
  let server: TestServer
  afterEach(() => server.close())
  const busyFor = (value: string, status = 503) =>
    startServer(
      (response) => response.writeHead(status, { 'retry-after': value }).end('busy'),
      json(200, { ok: true, deploys: [], total_count: 0, workflow_runs: [] }),
    )

  for (const client of ['the Control API', 'GitHub']) {
    it(`fails without waiting if it is over ten seconds: ${client}`, async () => {
      for (const [value, hint] of [
        ['60', 'Try again in 60 s.'],
        [new Date(Date.now() + 3_600_000).toUTCString(), 'Try again in 60 minutes.'],
      ] as const) {
        server = await busyFor(value)
        const error = await failureOf(CLIENTS[client]?.(server.url) ?? Promise.resolve())
        expect(error.hint).to.include(hint)
        expect(server.received).to.have.length(1)
        await server.close()
      }
    })
  }

  it('is waited for if it is one second', async () => {
    server = await busyFor('1', 429)
    const started = performance.now()
    await CLIENTS['the Control API']?.(server.url)
    expect(performance.now() - started).to.be.at.least(1_000)
    expect(server.received).to.have.length(2)
  })
})
