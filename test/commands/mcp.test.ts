import { createInterface } from 'node:readline'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, expectFailure, LATEST_AMI, TestSandbox } from '../support/cli.js'

interface Result {
  isError?: boolean
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on what it reads
  structuredContent?: any
  content: { type: string; text: string }[]
}

describe('clawctl mcp', () => {
  let sandbox: TestSandbox
  const clients: Client[] = []
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(async () => {
    await Promise.all(clients.map((client) => client.close()))
    await sandbox.close()
  })

  async function clientAs(role: string, env: Record<string, string> = {}): Promise<Client> {
    const client = new Client({ name: 'test', version: '1.0.0' })
    const environment = { ...(await sandbox.environment(role)), ...env }
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args: [BIN, 'mcp'], env: environment, stderr: 'ignore' }),
    )
    clients.push(client)
    return client
  }
  const call = async (client: Client, name: string, args: Record<string, unknown> = {}) =>
    (await client.callTool({ name, arguments: args })) as unknown as Result

  it('offers six tools with schemas and safety annotations, without inputs for URL, token, mode or caller', async () => {
    const { tools } = await (await clientAs('clawdinator-1')).listTools()
    expect(tools.map(({ name }) => name)).to.deep.equal(['status', 'show', 'deploy', 'follow', 'history', 'preflight'])
    for (const { name, annotations, outputSchema, inputSchema, description } of tools) {
      expect(annotations, name).to.deep.include({ readOnlyHint: name !== 'deploy', destructiveHint: name === 'deploy' })
      expect(annotations, name).to.have.all.keys(
        'title',
        'readOnlyHint',
        'destructiveHint',
        'idempotentHint',
        'openWorldHint',
      )
      expect(inputSchema, name).to.include({ type: 'object', additionalProperties: false })
      expect(outputSchema, name).to.have.property('properties')
      expect(description, name).to.match(/^.{20,}/)
    }
    const deploy = tools.find(({ name }) => name === 'deploy')
    expect(Object.keys(deploy?.inputSchema.properties ?? {})).to.have.members([
      'target',
      'amiOverride',
      'requestedBy',
      'requestId',
      'retire',
      'strategy',
      'code',
      'configRevision',
    ])
  })

  it('returns the documents of the commands, which the client validates by their schemas', async () => {
    const client = await clientAs('laptop')
    // The client validates against the output schemas that it has listed.
    await client.listTools()
    const [status, show, history, preflight] = await Promise.all([
      call(client, 'status'),
      call(client, 'show', { id: 'clawdinator-1' }),
      call(client, 'history', { limit: 3 }),
      call(client, 'preflight'),
    ])
    const printed = (await sandbox.clawctl('laptop', ['fleet', 'status', '--json'])).json()
    expect(status.structuredContent.fleet.instances.map(({ id }: { id: string }) => id)).to.deep.equal(
      printed.fleet.instances.map(({ id }: { id: string }) => id),
    )
    expect(JSON.parse(status.content[0]?.text ?? '')).to.deep.equal(status.structuredContent)
    expect(show.structuredContent.host).to.include({ id: 'clawdinator-1' })
    expect(history.structuredContent).to.deep.equal({ ok: true, deploys: [] })
    expect(preflight.structuredContent.preflight).to.have.property('checks')
  })

  it('deploys as its own instance, and follows by the beginning of an id', async () => {
    const client = await clientAs('clawdinator-1')
    await client.listTools()
    const asked = await call(client, 'deploy', { target: 'clawdinator-2', requestedBy: 'Jo' })
    const { deploy } = asked.structuredContent
    expect(deploy).to.include({ target: 'clawdinator-2', requestedBy: 'Jo', caller: 'clawdinator-1', status: 'queued' })
    const followed = await call(client, 'follow', { requestId: deploy.requestId.slice(0, 8) })
    expect(followed.structuredContent.deploy).to.include({ status: 'succeeded', ami: LATEST_AMI })
  })

  it('refuses by the same policy, with code and hint', async () => {
    const client = await clientAs('clawdinator-1')
    await client.listTools()
    const refusals: [string, Record<string, unknown>, string][] = [
      ['deploy', { target: 'clawdinator-1' }, 'SELF_DEPLOY'],
      ['deploy', { target: 'all' }, 'BOT_DEPLOY_ALL'],
      ['deploy', { target: 'clawdinator-2', retire: true }, 'BOT_RETIRE'],
      ['deploy', { target: 'clawdinator-9' }, 'UNKNOWN_TARGET'],
      ['deploy', { target: 'clawdinator-2', amiOverride: 'latest' }, 'INVALID_AMI'],
      ['deploy', { target: 'clawdinator-2', caller: 'clawdinator-9' }, 'INVALID_REQUEST'],
      ['status', { controlApiUrl: 'http://127.0.0.1:9' }, 'INVALID_REQUEST'],
      ['show', { id: 'clawdinator-9' }, 'UNKNOWN_TARGET'],
      ['follow', { requestId: 'nothing-like-it' }, 'NOT_FOUND'],
      ['history', { limit: 0 }, 'INVALID_REQUEST'],
      ['apply', {}, 'INVALID_REQUEST'],
    ]
    for (const [name, args, code] of refusals) {
      const { isError, content } = await call(client, name, args)
      expect(isError, `${name} ${code}`).to.equal(true)
      const { ok, error } = JSON.parse(content[0]?.text ?? '')
      expect([ok, error.code], JSON.stringify(args)).to.deep.equal([false, code])
      expect(error, code).to.have.property('hint')
    }
  })

  it('never shows the token, and reads the settings again for each call', async () => {
    const client = await clientAs('laptop', {
      CLAWDINATOR_CONTROL_TOKEN_FILE: '',
      CLAWDINATOR_CONTROL_TOKEN: 'cct_wrong',
    })
    const { content } = await call(client, 'status')
    expect(JSON.parse(content[0]?.text ?? '').error).to.include({ code: 'UNAUTHORIZED' })
    expect(content[0]?.text).not.to.include('cct_wrong')
  })

  it('ends at SIGTERM, also while it follows a deploy, with one listener', async () => {
    const release = sandbox.hold()
    const args = ['fleet', 'deploy', 'clawdinator-2', '--requested-by', 'Jo', '--json']
    const { requestId } = (await sandbox.clawctl('laptop', args)).json().deploy
    const env = await sandbox.environment('laptop')
    const server = execa(process.execPath, [BIN, 'mcp'], { env, extendEnv: false, reject: false })
    try {
      const ask = (id: number, method: string, params: object) =>
        server.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
      const clientInfo = { name: 'test', version: '1.0.0' }
      ask(0, 'initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo })
      const unknown = Array.from({ length: 12 }, (_, id) => ({ id: id + 1, requestId: 'nothing-like-it' }))
      for (const { id, ...known } of unknown) ask(id, 'tools/call', { name: 'follow', arguments: known })
      const answers = createInterface({ input: server.stdout })[Symbol.asyncIterator]()
      for (let count = 0; count <= unknown.length; count += 1) await answers.next()
      ask(99, 'tools/call', { name: 'follow', arguments: { requestId } })
      server.kill('SIGTERM')
      const { stderr, exitCode } = await server
      expect(stderr).not.to.include('MaxListeners')
      expect(exitCode).to.equal(0)
    } finally {
      server.kill('SIGKILL')
      release()
    }
  })

  it('works only in agent mode', async () => {
    expectFailure(await sandbox.clawctl('ci', ['mcp', '--json']), 'USAGE', 2)
  })
})
