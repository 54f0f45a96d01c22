import { createServer } from 'node:net'
import { expect } from 'chai'
import { HttpFailure, type HttpRequest, httpRequest } from '../../src/lib/adapters/httpClient.js'
import { html, type Responder, reset, silence, startServer, type TestServer } from '../support/server.js'

/** For tests that are not about time: long enough for any machine. */
const AMPLE_MS = 60_000

describe('httpRequest', () => {
  let server: TestServer
  afterEach(() => server.close())

  const ask = async (responder: Responder, options: Partial<HttpRequest> = {}) => {
    server = await startServer(responder)
    return httpRequest({ method: 'GET', url: `${server.url}/path?q=1`, timeoutMs: AMPLE_MS, ...options })
  }

  const failure = async (request: Promise<unknown>): Promise<HttpFailure> => {
    try {
      await request
    } catch (error) {
      if (error instanceof HttpFailure) return error
      throw error
    }
    throw new Error('it did not fail')
  }

  it('sends method, path, headers and the length of the body in bytes', async () => {
    const { status, body } = await ask(html(201, 'made'), {
      method: 'POST',
      headers: { authorization: 'Bearer t' },
      body: '{"a":"ü"}',
    })
    expect([status, body.toString()]).to.deep.equal([201, 'made'])
    const [received] = server.received
    expect(received).to.deep.include({ method: 'POST', url: '/path?q=1', body: '{"a":"ü"}' })
    expect(received?.headers).to.deep.include({ authorization: 'Bearer t', 'content-length': '10' })
  })

  it('returns any status, and never follows a redirection with the token', async () => {
    const answer = await ask((response) => {
      response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
    })
    expect([answer.status, answer.headers.location]).to.deep.equal([302, 'http://127.0.0.1:1/'])
    expect(server.received).to.have.length(1)
  })

  it('decodes a character whose bytes arrive in two parts', async () => {
    const [first, second] = [Buffer.from('ü').subarray(0, 1), Buffer.from('ü').subarray(1)]
    const { body } = await ask((response) => {
      response.write(first)
      setTimeout(() => response.end(second), 20)
    })
    expect(body.toString()).to.equal('ü')
  })

  it('fails after its time limit if nothing arrives', async () => {
    await ask(html(200))
    server.respondWith(html(200), silence)
    // Over the existing connection, which need not be opened.
    const error = await failure(httpRequest({ method: 'GET', url: server.url, timeoutMs: 60 }))
    expect(error.message).to.equal(`${server.host} did not answer within 0.06 s`)
    expect(error.sent).to.equal(true)
  })

  it('fails after its time limit if the body does not end', async () => {
    const dribble: Responder = (response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write('x'), 5)
      response.on('close', () => clearInterval(timer))
    }
    const error = await failure(ask(dribble, { timeoutMs: 80 }))
    expect(error.message).to.match(/did not answer within 0\.08 s|ended its answer early/)
  })

  it('reports a dropped connection, before and during the answer', async () => {
    const before = await failure(ask(reset))
    expect(before.message).to.equal(`${server.host} could not be reached (ECONNRESET)`)
    expect(before.sent).to.equal(true)
    await server.close()
    const within = await failure(
      ask((response) => {
        response.writeHead(200, { 'content-length': '100' })
        response.write('half')
        setTimeout(() => response.socket?.destroy(), 20)
      }),
    )
    expect(within.message).to.match(new RegExp(`^${server.host} ended its answer early`))
  })

  it('reports that nothing was sent if no server listens', async () => {
    server = await startServer(silence)
    await server.close()
    const error = await failure(httpRequest({ method: 'POST', url: server.url, body: 'x', timeoutMs: AMPLE_MS }))
    expect(error).to.include({ sent: false, message: `${server.host} could not be reached (ECONNREFUSED)` })
  })

  it('stops reading an answer above 8 MiB', async () => {
    const error = await failure(ask(html(200, 'x'.repeat(9 * 1024 * 1024))))
    expect(error.message).to.include('more than 8388608 bytes')
  })

  it('reports a server that does not use HTTP, without its text', async () => {
    server = await startServer(silence)
    const ssh = createServer((socket) => socket.end('SSH-2.0-sentinel\r\n'))
    await new Promise<void>((resolve) => ssh.listen(0, '127.0.0.1', resolve))
    const { port } = ssh.address() as { port: number }
    try {
      const error = await failure(httpRequest({ method: 'GET', url: `http://127.0.0.1:${port}`, timeoutMs: AMPLE_MS }))
      expect(error.message).to.match(/could not be reached \(HPE_/)
    } finally {
      ssh.close()
    }
  })

  describe('connections', () => {
    const ports: (number | undefined)[] = []
    const sendPort: Responder = (response) => {
      ports.push(response.socket?.remotePort)
      response.end('ok')
    }
    const send = (method: string) => httpRequest({ method, url: server.url, timeoutMs: AMPLE_MS })
    beforeEach(async () => {
      ports.length = 0
      server = await startServer(sendPort)
    })

    it('are reused for reads; every other request gets its own connection', async () => {
      for (const method of ['GET', 'GET', 'POST', 'POST', 'GET']) await send(method)
      const [first, second, third, fourth, fifth] = ports
      expect([second, fifth]).to.deep.equal([first, first])
      expect(new Set([first, third, fourth]).size).to.equal(3)
    })

    it('transfer no data from one read to the next', async () => {
      const warnings: Error[] = []
      const onWarning = (warning: Error) => warnings.push(warning)
      process.on('warning', onWarning)
      for (let n = 0; n < 15; n += 1) await send('GET')
      await new Promise((resolve) => setImmediate(resolve))
      process.off('warning', onWarning)
      expect(warnings.map((warning) => warning.name)).to.deep.equal([])
      expect(new Set(ports).size).to.equal(1)
    })

    it('are replaced within the same attempt if the server has closed them', async () => {
      server.respondWith(
        sendPort,
        (response) => response.socket?.destroy(),
        sendPort,
        (response) => response.socket?.destroy(),
      )
      await send('GET')
      expect((await send('GET')).status).to.equal(200)
      expect(new Set(ports).size).to.equal(2)
      // A new connection that breaks is a failure: the next layer decides about a retry.
      const error = await failure(httpRequest({ method: 'POST', url: server.url, timeoutMs: AMPLE_MS }))
      expect(error.message).to.include('ECONNRESET')
      expect(server.received).to.have.length(4)
    })

    it('do not extend the time limit of the whole exchange', async () => {
      server.respondWith(sendPort, (response) => void setTimeout(() => response.socket?.destroy(), 900), silence)
      await send('GET')
      // Timers of one process fire in their order, even if all of them are late.
      const stretched = new Promise<never>((_, reject) => setTimeout(reject, 1850, new Error('it took 900 ms more')))
      const asked = failure(httpRequest({ method: 'GET', url: server.url, timeoutMs: 1000 }))
      expect((await Promise.race([asked, stretched])).message).to.include('did not answer within 1 s')
    })

    it('are closed by an abort signal, before and during an answer', async () => {
      const abort = new AbortController()
      server.respondWith(() => abort.abort())
      const asked = failure(httpRequest({ method: 'GET', url: server.url, timeoutMs: AMPLE_MS, signal: abort.signal }))
      expect((await asked).message).to.include('was interrupted')
      const never = await failure(
        httpRequest({ method: 'GET', url: server.url, timeoutMs: AMPLE_MS, signal: abort.signal }),
      )
      expect(never.message).to.include('was interrupted')
      expect(server.received).to.have.length(1)
    })
  })
})
