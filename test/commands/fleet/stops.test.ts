import { expect } from 'chai'
import { type TOTP, URI } from 'otpauth'
import { CONTROL_SECRETS_KEY } from '../../../src/lib/domain/controlSecrets.js'
import { expectFailure, LATEST_AMI, OLDER_AMI, TestSandbox, temporaryFolder } from '../../support/cli.js'

const BOTH = ['clawdinator-1', 'clawdinator-2']

describe('clawctl fleet freeze, unfreeze and cancel, people and token', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start({ running: BOTH })
  })
  after(() => sandbox.close())

  const clawctl = (as: string, ...args: string[]) => sandbox.clawctl(as, [...args, '--json'])
  const jo = ['--requested-by', 'Jo']

  it('freezes for a person, shows it in status and preflight, and refuses deploys by server and CI', async () => {
    const freeze = ['fleet', 'freeze', 'clawdinator-2', '--reason', 'under investigation', '--for', '2h']
    expectFailure(await clawctl('clawdinator-1', ...freeze), 'PERSON_REQUIRED', 3)
    const frozen = await clawctl('clawdinator-1', ...freeze, ...jo)
    expect(frozen.json().freezes[0]).to.include({ target: 'clawdinator-2', identity: 'host verified, person claimed' })
    const [status, preflight] = await Promise.all([
      sandbox.clawctl('laptop', ['fleet', 'status']),
      sandbox.clawctl('laptop', ['preflight', '--chat']),
    ])
    expect(status.stdout).to.match(
      /^clawdinator-2 is frozen by Jo \(claimed\) via clawdinator-1 until \d{4}-.* UTC: under investigation$/m,
    )
    expect(preflight.code).to.equal(0)
    const checks = (await clawctl('laptop', 'preflight')).json().preflight.checks as { id: string; fix: string }[]
    expect(checks.find(({ id }) => id === 'fleet-status')?.fix).to.include('`clawctl fleet unfreeze clawdinator-2`')
    for (const [duration, why] of [
      ['90d', 'longer than 30d'],
      ['1s', 'shorter than 1m'],
    ] as const) {
      const refused = await clawctl('laptop', 'fleet', 'freeze', 'all', '--reason', 'x', '--for', duration, ...jo)
      expect(expectFailure(refused, 'USAGE', 2).message).to.include(`"${duration}" is ${why}`)
    }
    for (const as of ['laptop', 'ci']) {
      for (const target of ['clawdinator-2', 'all']) {
        const error = expectFailure(await clawctl(as, 'fleet', 'deploy', target, ...jo), 'FROZEN', 3)
        expect(error.message).to.include('under investigation').and.include('Jo (claimed)')
      }
    }
    expect(sandbox.hosts()).to.deep.equal(BOTH.map((id) => `${id} ${OLDER_AMI}`))
    expectFailure(await clawctl('laptop', 'fleet', 'unfreeze', 'all', ...jo), 'NOT_FOUND', 2)
    await clawctl('laptop', 'fleet', 'freeze', 'all', '--reason', 'Discord is down', ...jo)
    const grounded = await sandbox.clawctl('laptop', ['preflight'])
    expect(grounded.code).to.equal(1)
    expect(grounded.stdout).to.match(/^✖ The fleet can be described, and not all of it is frozen .*Discord is down/m)
    expect(grounded.stdout).not.to.include('Ready to fly')
    const ended = await sandbox.clawctl('laptop', ['fleet', 'unfreeze', 'all', ...jo])
    expect(ended.stdout).to.match(/^The fleet as a whole is no longer frozen\.\n/)
    expect((await clawctl('laptop', 'fleet', 'unfreeze', 'clawdinator-2', ...jo)).json().freezes).to.deep.equal([])
  })

  it('cancels a queued deploy, and stops a running one before its next host', async () => {
    const release = sandbox.hold()
    const deploy = async (as: string, target: string, ...args: string[]) =>
      (await clawctl(as, 'fleet', 'deploy', target, ...args)).json().deploy.requestId as string
    const running = await deploy('laptop', 'all', ...jo)
    const queued = await deploy('clawdinator-1', 'clawdinator-2')
    const cancelled = await clawctl('laptop', 'fleet', 'cancel', queued, ...jo)
    expect(cancelled.json().deploy).to.include({ requestId: queued, status: 'queued' })
    await clawctl('laptop', 'fleet', 'cancel', running, ...jo)
    release()
    const [first, second] = await Promise.all([running, queued].map((id) => clawctl('laptop', 'fleet', 'follow', id)))
    const error = expectFailure(first as typeof cancelled, 'CANCELLED', 1)
    expect(error.message).to.include('by Jo (claimed)')
    expectFailure(second as typeof cancelled, 'CANCELLED', 1)
    expect(sandbox.hosts()).to.deep.equal(BOTH.map((id) => `${id} ${OLDER_AMI}`))
  })

  it('enrols a person, shows the secret only once and only to a person, and then verifies their codes', async () => {
    expectFailure(await clawctl('ci', 'people', 'add', 'Jo'), 'USAGE', 2)
    expectFailure(await clawctl('laptop', 'people', 'list'), 'NOT_CI', 3)
    const added = await sandbox.clawctl('ci', ['people', 'add', 'Jo'], { printsSecrets: true })
    const uri = /^otpauth:\S+$/m.exec(added.stdout)?.[0] ?? ''
    expect(added.stdout).to.match(/[▀▄█]{10}/)
    const totp = URI.parse(uri) as TOTP
    expect([totp.label, totp.issuer]).to.deep.equal(['Jo', 'clawctl'])
    expect((await clawctl('ci', 'people', 'list')).json().people).to.have.length(1)

    expectFailure(await clawctl('laptop', 'fleet', 'deploy', 'all', ...jo), 'CODE_REQUIRED', 3)
    expectFailure(await clawctl('laptop', 'fleet', 'deploy', 'all', ...jo, '--code', '000000'), 'CODE_WRONG', 3)
    // A code is checked on both planes.
    const planned = ['fleet', 'deploy', 'all', '--plan-only', ...jo, '--code', '000000']
    expectFailure(await clawctl('ci', ...planned), 'CODE_WRONG', 3)
    const code = totp.generate()
    const chat = await sandbox.run('clawdinator-1', [
      'scripts/fleet-control.sh',
      '/fleet',
      'deploy',
      'all',
      code,
      ...jo,
      '--wait',
    ])
    expect(chat.code, chat.stderr).to.equal(0)
    expect(chat.stdout).to.include('asked   by Jo (verified) via clawdinator-1 (verified)')
    expect(chat.stdout).to.match(/clawdinator-1: skipped[\s\S]*no instance replaces itself/)
    expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
    const [run] = sandbox.inner.github.runs
    expect(JSON.stringify(run?.inputs)).to.include('host verified, person verified').and.not.include(code)
    expectFailure(await clawctl('laptop', 'fleet', 'deploy', 'clawdinator-1', ...jo, '--code', code), 'CODE_WRONG', 3)
    expect((await clawctl('ci', 'people', 'remove', 'Jo')).json().person).to.include({ left: 0 })
  })

  it('writes a read token into a file, and makes no token for an instance without a recipient', async () => {
    const put = (text: string) =>
      sandbox.world.putObject(sandbox.inner.session.ci.S3_BUCKET ?? '', CONTROL_SECRETS_KEY, text)
    put(JSON.stringify({ CONTROL_API_TOKEN: 'cct_shared_0123456789', GITHUB_TOKEN: 'ghp_0123456789abcdef' }))
    const file = files.path('phone')
    const made = await clawctl('ci', 'token', 'add', 'phone', '--read', '--to', file)
    expect(made.json().token).to.deep.equal({ id: 'phone', scope: 'read', accepted: 1, written: file })
    expectFailure(await clawctl('ci', 'token', 'add', 'phone', '--read', '--to', file), 'USAGE', 2)
    expectFailure(await clawctl('ci', 'token', 'add', 'clawdinator-1'), 'USAGE', 2)
    const { tokens } = (await clawctl('ci', 'token', 'list')).json()
    expect(tokens.map(({ id, digests }: { id: string; digests: string[] }) => [id, digests.length])).to.deep.equal([
      ['clawdinator-1', 0],
      ['clawdinator-2', 0],
      ['phone', 1],
    ])
    expect((await clawctl('ci', 'token', 'remove', 'phone', '--read')).json().token.accepted).to.equal(0)
  })
})
