import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { hostFileText } from '../../src/lib/domain/registry/hostFile.js'
import { copyCheckout, expectFailure, TestSandbox, temporaryFolder } from '../support/cli.js'
import { ageText } from '../support/fakes.js'

const SEVEN = ['control-api', 'control-token', 'workflow', 'registry', 'discord-tokens', 'latest-ami', 'fleet-status']

describe('clawctl preflight', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    const checkout = files.path('checkout')
    await copyCheckout(checkout)
    await mkdir(join(checkout, 'nix/hosts'), { recursive: true })
    for (const id of ['clawdinator-1', 'clawdinator-2']) {
      await writeFile(join(checkout, `nix/hosts/${id}.nix`), hostFileText(id))
    }
    sandbox = await TestSandbox.start({ checkout })
  })
  after(() => sandbox.close())

  type Checks = { id: string; status: string; evidence: string; fix: string | null; parts: { id: string }[] }[]
  const statuses = (checks: Checks) => Object.fromEntries(checks.map(({ id, status }) => [id, status]))
  const all = (status: string) => Object.fromEntries(SEVEN.map((id) => [id, status]))

  it('passes in a fresh sandbox: one line per check, the verdict last, exit 0', async () => {
    const [{ code, stdout, stderr }, json] = await Promise.all([
      sandbox.clawctl('laptop', ['preflight']),
      sandbox.clawctl('laptop', ['preflight', '--json']),
    ])
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' })
    expect(stdout.match(/^✔ /gm)).to.have.length(7)
    expect(stdout.trimEnd().split('\n').at(-1)).to.equal('Ready to fly.')
    const { ok, preflight } = json.json()
    expect(ok).to.equal(true)
    expect(preflight.checks.map(({ id }: { id: string }) => id)).to.deep.equal(SEVEN)
    expect(statuses(preflight.checks)).to.deep.equal(all('pass'))
  })

  it("makes the other checks if the Control API can't be reached, and fails", async () => {
    const env = { CLAWDINATOR_CONTROL_API_URL: 'http://127.0.0.1:9' }
    const outcome = await sandbox.clawctl('laptop', ['preflight', '--json'], { env })
    expectFailure(outcome, 'PREFLIGHT_FAILED', 1)
    const { checks, ready, failed, skipped } = outcome.json().preflight
    expect({ ready, failed, skipped }).to.deep.equal({ ready: false, failed: 1, skipped: 6 })
    expect(statuses(checks)).to.deep.equal({ ...all('skip'), 'control-api': 'fail' })
    const { evidence } = checks.find(({ id }: { id: string }) => id === 'registry')
    expect(evidence).to.equal(
      '2 instances in the checkout. Only the Control API can check this, and it did not answer.',
    )
  })

  it('distinguishes a wrong token, a missing token and a missing URL, each with its fix', async () => {
    const token = { CLAWDINATOR_CONTROL_TOKEN_FILE: undefined }
    const cases: [Record<string, string | undefined>, string, RegExp][] = [
      [{ ...token, CLAWDINATOR_CONTROL_TOKEN: 'wrong' }, 'control-token', /Check the control token/],
      [{ ...token }, 'control-token', /CLAWDINATOR_CONTROL_TOKEN_FILE/],
      [{ CLAWDINATOR_CONTROL_API_URL: undefined }, 'control-api', /control-api-url/],
    ]
    await Promise.all(
      cases.map(async ([env, id, fix]) => {
        const outcome = await sandbox.clawctl('laptop', ['preflight', '--json'], { env })
        const checks: Checks = outcome.json().preflight.checks
        const failed = checks.filter(({ status }) => status === 'fail')
        expect(failed.map((check) => check.id)).to.deep.equal([id])
        expect(failed[0]?.fix).to.match(fix)
      }),
    )
  })

  it('checks nix-secrets with --secrets-dir, and prints no secret', async () => {
    const folder = files.path('nix-secrets')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'clawdinator-discord-token-1.age'), ageText('a token'))
    await writeFile(join(folder, 'clawdinator-discord-token-2.age'), 'plain-text-of-a-token')
    const { code, stdout, stderr } = await sandbox.clawctl('laptop', ['preflight', '--chat', '--secrets-dir', folder])
    expect(code).to.equal(1)
    expect(stdout).to.match(/^Not ready: 2 of 7 checks failed\.\n/)
    expect(stdout).to.include('clawdinator-discord-token-2.age is not age ciphertext')
    expect(stdout).to.include('clawdinator-control-token.age is missing')
    expect(stdout + stderr).not.to.include('plain-text-of-a-token')
  })

  it('reports differences between checkout and deployed branch without failing', async () => {
    const add = await sandbox.clawctl('clawdinator-1', ['registry', 'add', 'clawdinator-3'])
    expect(add.code).to.equal(0)
    const { code, stdout } = await sandbox.clawctl('clawdinator-1', ['preflight'])
    expect(code).to.equal(0)
    expect(stdout).to.include('only in the checkout: clawdinator-3').and.include('registry add ID --pr')
  })

  it('uses AWS and GitHub directly in ci mode', async () => {
    const outcome = await sandbox.clawctl('ci', ['preflight', '--json'])
    expect(outcome.code).to.equal(0)
    expect(statuses(outcome.json().preflight.checks)).to.deep.equal(all('pass'))
  })
})
