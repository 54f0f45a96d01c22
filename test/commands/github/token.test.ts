import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { BIN, run, surroundings } from '../../support/cli.js'
import { startPlane, type TestPlane } from '../../support/plane.js'

describe('clawctl github token', () => {
  const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const key = keys.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
  let plane: TestPlane
  let folder: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'clawctl-token-'))
    writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 })
    plane = await startPlane({
      app: {
        appId: '77',
        installationId: '88',
        publicKey: key,
        permissions: { actions: 'write', contents: 'write' },
      },
    })
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    await plane.close()
  })

  const clawctl = (args: string[], env: Record<string, string> = {}) =>
    run([process.execPath, BIN, 'github', 'token', ...args], {
      // A fleet host's timer: no AWS, no Control API.
      env: {
        ...surroundings(),
        GITHUB_API_URL: plane.githubUrl,
        GITHUB_APP_ID: '77',
        GITHUB_APP_INSTALLATION_ID: '88',
        GITHUB_APP_PRIVATE_KEY_FILE: join(folder, 'key.pem'),
        ...env,
      },
      cwd: folder,
      printsSecrets: true,
    })
  const asked = () => JSON.parse(plane.seen.at(-1)?.body ?? '')

  it('writes an environment file atomically for its owner and group, and prints no token', async () => {
    const out = join(folder, 'github.env')
    writeFileSync(out, 'old\n', { mode: 0o666 })
    const args = ['--out', out, '--repository', 'acme/fleet', '--permission', 'contents=read', '--json']
    const done = await clawctl(args)
    expect([done.code, done.stderr]).to.deep.equal([0, ''])
    const file = /^GITHUB_TOKEN=(ghs_\w+)\nGITHUB_TOKEN_EXPIRES_AT=(\S+)\n$/.exec(readFileSync(out, 'utf8'))
    expect(done.json()).to.deep.equal({
      ok: true,
      out,
      expiresAt: file?.[2],
      permissions: { contents: 'read', metadata: 'read' },
    })
    expect(statSync(out).mode & 0o777).to.equal(0o640)
    expect(readdirSync(folder)).to.have.members(['github.env', 'key.pem'])
    expect(done.stdout + done.stderr).not.to.include(file?.[1])
    expect(asked()).to.deep.equal({ repositories: ['fleet'], permissions: { contents: 'read' } })
  })

  it('prints only the token with --stdout, masked in a CI log', async () => {
    const done = await clawctl(['--stdout'], {
      GITHUB_ACTIONS: 'true',
      GITHUB_APP_PRIVATE_KEY_FILE: '',
      GITHUB_APP_PRIVATE_KEY: key,
    })
    expect(done.stdout).to.match(/^ghs_\w+\n$/)
    expect([done.code, done.stderr]).to.deep.equal([0, `::add-mask::${done.stdout}`])
    expect(asked()).to.deep.equal({})
  })

  it('refuses options that would lose or expose the token before it mints one', async () => {
    const before = plane.seen.length
    const outcomes = await Promise.all([
      clawctl([]),
      clawctl(['--stdout', '--json']),
      clawctl(['--stdout', '--permission', 'contents:read']),
      clawctl(['--stdout'], { GITHUB_APP_PRIVATE_KEY_FILE: join(folder, 'none.pem') }),
    ])
    const codes = outcomes.map(({ code }) => code)
    expect(codes).to.deep.equal([2, 2, 2, 4])
    expect(outcomes[3]?.stderr).to.include('none.pem').and.include('GITHUB_APP_PRIVATE_KEY_FILE')
    expect(plane.seen).to.have.length(before)
  })
})
