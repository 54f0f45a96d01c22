import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { BIN, expectFailure, ROOT, TestSandbox } from '../support/cli.js'

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
  /** A laptop without any variable of clawctl. */
  const bare = () => ({
    CLAWCTL_HOST_ROOT: root,
    CLAWDINATOR_CONTROL_API_URL: '',
    CLAWDINATOR_CONTROL_TOKEN_FILE: '',
  })
  const clawctl = (args: string[], env: Record<string, string> = {}) =>
    sandbox.clawctl('laptop', args, { env: { ...bare(), ...env } })
  const logIn = (file: string, ...args: string[]) =>
    sandbox.run('laptop', ['bash', '-c', `clawctl login --json "$@" < ${file}`, 'login', ...args], { env: bare() })

  it('saves nothing if the token is refused, the URL is plain http, or the server does not answer', async () => {
    await writeFile(join(root, 'wrong'), 'cct_wrong\n')
    expectFailure(await logIn(join(root, 'wrong'), '--control-api-url', url, '--name', 'Jo'), 'UNAUTHORIZED', 4)
    expectFailure(await logIn(tokenFile, '--control-api-url', 'http://api.example'), 'NOT_CONFIGURED', 4)
    expectFailure(await logIn(tokenFile, '--control-api-url', url, '--name', 'x'.repeat(65)), 'INVALID_REQUEST', 2)
    expect(await readdir(root)).not.to.include('home')
  })

  it('asks for values on a terminal, and names the options without one', async () => {
    const error = expectFailure(await logIn(tokenFile), 'USAGE', 2)
    expect(error.hint).to.include('--control-api-url')
  })

  it('saves the settings that the Control API accepted, and the token in a file with mode 0600', async () => {
    const outcome = await logIn(tokenFile, '--control-api-url', url, '--name', 'Jo')
    expect(outcome.json()).to.deep.equal({
      ok: true,
      login: { controlApiUrl: url, requestedBy: 'Jo', folder: folder(), tokenIn: 'file', instances: 2 },
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

  it("lets other commands run without variables, with the person's name", async () => {
    expect((await clawctl(['fleet', 'status', '--json'])).json().fleet.instances).to.have.length(2)
    const { deploy } = (await clawctl(['fleet', 'deploy', 'clawdinator-2', '--json'])).json()
    expect(deploy.requestedBy).to.equal('Jo')
    const other = await clawctl(['fleet', 'deploy', 'clawdinator-1', '--requested-by', 'Ada', '--json'])
    expect(other.json().deploy.requestedBy).to.equal('Ada')
  })

  it('sends the saved token only to the saved URL, and variables take precedence', async () => {
    const elsewhere = await clawctl(['fleet', 'status', '--control-api-url', 'http://127.0.0.1:9', '--json'])
    expect(expectFailure(elsewhere, 'NOT_CONFIGURED', 4).message).to.include('token')
    const wrong = await clawctl(['fleet', 'status', '--json'], { CLAWDINATOR_CONTROL_TOKEN: 'cct_wrong' })
    expectFailure(wrong, 'UNAUTHORIZED', 4)
  })

  it('does not use the saved name for an instance: a bot stays a bot', async () => {
    const env = { CLAWCTL_HOST_ROOT: root, CLAWDINATOR_INSTANCE_NAME: 'clawdinator-1' }
    expectFailure(await clawctl(['fleet', 'deploy', 'all', '--json'], env), 'BOT_DEPLOY_ALL', 3)
  })

  it('refuses a token file that others may read, and names the fix', async () => {
    await chmod(join(folder(), 'control-token'), 0o644)
    const error = expectFailure(await clawctl(['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(error.hint).to.include('chmod 600')
    await chmod(join(folder(), 'control-token'), 0o600)
  })

  it('removes everything with logout', async () => {
    expect((await clawctl(['logout'])).stdout).to.equal(`Removed the saved settings from ${folder()}.\n`)
    expect(await readdir(folder())).to.deep.equal([])
    const error = expectFailure(await clawctl(['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(error.hint).to.include('`clawctl login`')
    expect((await clawctl(['logout'])).stdout).to.include('Nothing was saved')
  })
})

describe('clawctl login with an OS keychain', () => {
  let sandbox: TestSandbox
  let root: string
  let url: string
  let token: string
  let entries: string
  before(async () => {
    sandbox = await TestSandbox.start()
    root = await mkdtemp(join(tmpdir(), 'clawctl-keychain-'))
    url = sandbox.inner.session.controlApiUrl
    token = sandbox.inner.session.controlToken
    entries = join(root, 'entries.json')
    await writeFile(join(root, 'given'), `${token}\n`)
    await writeFile(entries, '{}')
  })
  after(async () => {
    await sandbox.close()
    await rm(root, { recursive: true, force: true })
  })

  const folder = () => join(root, 'config/clawctl')
  const saved = async () => JSON.parse(await readFile(join(folder(), 'config.json'), 'utf8'))
  const kept = async () => JSON.parse(await readFile(entries, 'utf8'))

  /** Installs this text as the library @napi-rs/keyring; null: npm did not install it. */
  const preload = (library: string | null) => {
    const found =
      library === null ? `throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' })` : ''
    const hook = `export function resolve(name, context, next) {
      if (name !== '@napi-rs/keyring') return next(name, context)
      ${found}
      return { url: ${JSON.stringify(script(library ?? ''))}, shortCircuit: true }
    }`
    return script(`import { register } from 'node:module'; register(${JSON.stringify(script(hook))})`)
  }
  const script = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`
  const working = () => `
    import { readFileSync, writeFileSync } from 'node:fs'
    const all = () => JSON.parse(readFileSync(${JSON.stringify(entries)}, 'utf8'))
    const keep = (changed) => writeFileSync(${JSON.stringify(entries)}, JSON.stringify({ ...all(), ...changed }))
    export class Entry {
      constructor(service, account) { this.name = service + ' ' + account }
      setPassword(text) { keep({ [this.name]: text }) }
      getPassword() { return all()[this.name] ?? null }
      deletePassword() { keep({ [this.name]: undefined }); return true }
    }`
  const LOCKED = `export class Entry { constructor() { throw new Error('it is locked') } }`

  /** On a laptop with its own home folder, not the sandbox's. */
  const clawctl = (library: string | null, args: string[], env: Record<string, string> = {}) => {
    const line = 'exec "$@" < "$GIVEN"'
    const command = [process.execPath, '--import', preload(library), BIN, ...args]
    return sandbox.run('laptop', ['bash', '-c', line, 'clawctl', ...command], {
      env: {
        CLAWCTL_HOST_ROOT: '',
        CLAWDINATOR_CONTROL_API_URL: '',
        CLAWDINATOR_CONTROL_TOKEN_FILE: '',
        XDG_CONFIG_HOME: join(root, 'config'),
        GIVEN: join(root, 'given'),
        ...env,
      },
    })
  }
  const logIn = (library: string | null, ...args: string[]) =>
    clawctl(library, ['login', '--control-api-url', url, '--name', 'Jo', ...args])

  it('saves the token in the keychain instead of a file, and reports it', async () => {
    const { stdout } = await logIn(working())
    expect(stdout).to.include('The token is in the OS keychain.')
    expect(await kept()).to.deep.equal({ [`clawctl ${url}`]: token })
    expect(await readdir(folder())).to.deep.equal(['config.json'])
    expect(await saved()).to.deep.equal({ controlApiUrl: url, requestedBy: 'Jo', tokenIn: 'keychain' })
  })

  it('reads the token from the keychain', async () => {
    const { fleet } = (await clawctl(working(), ['fleet', 'status', '--json'])).json()
    expect(fleet.instances).to.have.length(2)
    const { stdout } = await clawctl(working(), ['preflight'])
    expect(stdout).to.include('It is in the OS keychain.')
  })

  it('does not load the library for another token, on a fleet host or in ci mode', async () => {
    const loaded = `throw new Error('loaded')`
    const given = await clawctl(loaded, ['fleet', 'status', '--json'], { CLAWDINATOR_CONTROL_TOKEN: token })
    expect(given.json().ok).to.equal(true)
    const elsewhere: Record<string, string>[] = [{ CLAWDINATOR_INSTANCE_NAME: 'clawdinator-1' }, { CI: 'true' }]
    for (const env of elsewhere) {
      const error = expectFailure(await clawctl(loaded, ['fleet', 'status', '--json'], env), 'NOT_CONFIGURED', 4)
      expect(`${error.message} ${error.hint}`).not.to.include('loaded')
    }
  })

  it('names a locked or missing keychain, and keeps the settings at logout', async () => {
    const locked = expectFailure(await clawctl(LOCKED, ['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(locked.message).to.include('it is locked')
    expect(locked.hint).to.include('`clawctl login`')
    const gone = expectFailure(await clawctl(null, ['fleet', 'status', '--json']), 'NOT_CONFIGURED', 4)
    expect(gone.message).to.include('not installed')
    expectFailure(await clawctl(LOCKED, ['logout', '--json']), 'NOT_WRITABLE', 1)
    expectFailure(await clawctl(working(), ['logout', '--json'], { CI: 'true' }), 'NOT_WRITABLE', 1)
    expect(await saved()).to.include({ tokenIn: 'keychain' })
  })

  it('uses a file with mode 0600 without a keychain, and reports the reason', async () => {
    for (const [library, reason] of [
      [LOCKED, 'it is locked'],
      [null, 'the package @napi-rs/keyring is not installed'],
      ['process.exit(1)', 'its library failed'],
    ] as const) {
      const { login } = (await logIn(library, '--json')).json()
      expect(login).to.include({ tokenIn: 'file', keychainProblem: reason })
      expect((await stat(join(folder(), 'control-token'))).mode & 0o777).to.equal(0o600)
      expect(await saved()).to.deep.equal({ controlApiUrl: url, requestedBy: 'Jo' })
      expect((await clawctl(library, ['fleet', 'status', '--json'])).json().ok).to.equal(true)
    }
  })

  it('moves a token from the file, and removes the entry of an earlier URL', async () => {
    await logIn(working())
    expect(await readdir(folder())).to.deep.equal(['config.json'])
    const other = url.replace('127.0.0.1', 'localhost')
    await clawctl(working(), ['login', '--control-api-url', other, '--name', 'Jo'])
    expect(await kept()).to.deep.equal({ [`clawctl ${other}`]: token })
  })

  it('removes everything with logout, also an entry of a keychain that was locked at the last login', async () => {
    await clawctl(working(), ['login', '--control-api-url', url])
    expect((await clawctl(LOCKED, ['login', '--control-api-url', url])).stdout).to.include('control-token')
    expect((await clawctl(working(), ['logout'])).code).to.equal(0)
    expect(await kept()).to.deep.equal({})
    expect(await readdir(folder())).to.deep.equal([])
  })

  it('kills a keychain call that does not return', async () => {
    const HANGS = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)'
    const chunk = (await readdir(join(ROOT, 'dist/chunks'))).find((name) => /^keychain-/.test(name))
    const caller = join(root, 'caller.mjs')
    await writeFile(
      caller,
      `const { osKeychain } = await import(${JSON.stringify(join(ROOT, 'dist/chunks', chunk ?? ''))})
       console.log(JSON.stringify(await osKeychain(process.env, 1000)('read', 'https://api.example')))`,
    )
    const outcome = await sandbox.run('laptop', [process.execPath, '--import', preload(HANGS), caller])
    expect(outcome.json()).to.deep.equal({ problem: 'no answer within 1 s' })
    expect(outcome.code).to.equal(0)
  })
})
