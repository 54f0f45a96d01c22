import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { expectFailure, TestSandbox } from '../support/cli.js'

describe('clawctl login', () => {
  let sandbox: TestSandbox
  let root: string
  let url: string
  let tokenFile: string
  before(async () => {
    sandbox = await TestSandbox.start()
    root = await mkdtemp(join(tmpdir(), 'clawctl-login-'))
    url = sandbox.inner.session.controlApiUrl
    tokenFile = join(root, 'given')
    await writeFile(tokenFile, `${sandbox.inner.session.controlToken}\n`)
  })
  after(async () => {
    await sandbox.close()
    await rm(root, { recursive: true, force: true })
  })

  const folder = () => join(root, 'home/.config/clawctl')
  /** A laptop that no variable configures. */
  const bare = () => ({
    CLAWCTL_HOST_ROOT: root,
    CLAWDINATOR_CONTROL_API_URL: '',
    CLAWDINATOR_CONTROL_TOKEN_FILE: '',
  })
  const clawctl = (args: string[], env: Record<string, string> = {}) =>
    sandbox.clawctl('laptop', args, { env: { ...bare(), ...env } })
  const logIn = (file: string, ...args: string[]) =>
    sandbox.run('laptop', ['bash', '-c', `clawctl login --json "$@" < ${file}`, 'login', ...args], { env: bare() })

  it('keeps nothing that does not work: a token that is refused, a URL in the clear, a server that is away', async () => {
    await writeFile(join(root, 'wrong'), 'cct_wrong\n')
    expectFailure(await logIn(join(root, 'wrong'), '--control-api-url', url, '--name', 'Jo'), 'UNAUTHORIZED', 4)
    expectFailure(await logIn(tokenFile, '--control-api-url', 'http://api.example'), 'NOT_CONFIGURED', 4)
    expectFailure(await logIn(tokenFile, '--control-api-url', url, '--name', 'x'.repeat(65)), 'INVALID_REQUEST', 2)
    expect(await readdir(root)).not.to.include('home')
  })

  it('asks on a terminal, and says what to give where there is none', async () => {
    const error = expectFailure(await logIn(tokenFile), 'USAGE', 2)
    expect(error.hint).to.include('--control-api-url')
  })

  it('saves what the Control API answered to, the token in a file of its own that nobody else may read', async () => {
    const outcome = await logIn(tokenFile, '--control-api-url', url, '--name', 'Jo')
    expect(outcome.json()).to.deep.equal({
      ok: true,
      login: { controlApiUrl: url, requestedBy: 'Jo', folder: folder(), instances: 2 },
    })
    expect(JSON.parse(await readFile(join(folder(), 'config.json'), 'utf8'))).to.deep.equal({
      controlApiUrl: url,
      requestedBy: 'Jo',
    })
    for (const file of ['config.json', 'control-token']) {
      expect((await stat(join(folder(), file))).mode & 0o777, file).to.equal(0o600)
    }
    expect((await stat(folder())).mode & 0o777).to.equal(0o700)
  })

  it('makes the other commands work without a variable, in the name of the person', async () => {
    expect((await clawctl(['fleet', 'status', '--json'])).json().fleet.instances).to.have.length(2)
    const { deploy } = (await clawctl(['fleet', 'deploy', 'clawdinator-2', '--json'])).json()
    expect(deploy.requestedBy).to.equal('Jo')
    const other = await clawctl(['fleet', 'deploy', 'clawdinator-1', '--requested-by', 'Ada', '--json'])
    expect(other.json().deploy.requestedBy).to.equal('Ada')
  })

  it('gives the saved token to the saved URL alone, and lets variables win', async () => {
    const elsewhere = await clawctl(['fleet', 'status', '--control-api-url', 'http://127.0.0.1:9', '--json'])
    expect(expectFailure(elsewhere, 'NOT_CONFIGURED', 4).message).to.include('token')
    const wrong = await clawctl(['fleet', 'status', '--json'], { CLAWDINATOR_CONTROL_TOKEN: 'cct_wrong' })
    expectFailure(wrong, 'UNAUTHORIZED', 4)
  })

  it('is no name for a bot: an instance without a person stays one', async () => {
    const env = { CLAWCTL_HOST_ROOT: root, CLAWDINATOR_INSTANCE_NAME: 'clawdinator-1' }
    expectFailure(await clawctl(['fleet', 'deploy', 'all', '--json'], env), 'BOT_DEPLOY_ALL', 3)
  })

  it('refuses a token that others may read, and says how to close it', async () => {
    await chmod(join(folder(), 'control-token'), 0o644)
    const error = expectFailure(await clawctl(['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(error.hint).to.include('chmod 600')
    await chmod(join(folder(), 'control-token'), 0o600)
  })

  it('is undone by logout', async () => {
    expect((await clawctl(['logout'])).stdout).to.equal(`Removed the saved settings from ${folder()}.\n`)
    expect(await readdir(folder())).to.deep.equal([])
    const error = expectFailure(await clawctl(['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(error.hint).to.include('`clawctl login`')
    expect((await clawctl(['logout'])).stdout).to.include('Nothing was saved')
  })
})
