import { mkdir, readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { TestSandbox, temporaryFolder } from '../support/cli.js'

describe('in a job of GitHub Actions', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
    await mkdir(files.path('secrets'))
  })
  after(() => sandbox.close())

  async function inJob(name: string, args: string[]) {
    const summary = files.path(name)
    const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary }
    const outcome = await sandbox.clawctl('ci', args, { env })
    return { ...outcome, summary: await readFile(summary, 'utf8') }
  }

  it('annotates each failed check of preflight, and writes all checks into the summary', async () => {
    const { code, stderr, summary } = await inJob('flight', ['preflight', '--secrets-dir', files.path('secrets')])
    expect(code).to.equal(1)
    expect(stderr.match(/^::error title=PREFLIGHT_FAILED::/gm)?.length).to.be.within(2, 10)
    expect(summary).to.match(/^### clawctl preflight\n\n````text\n/)
    expect(summary).to.include('✔ ').and.include('✖ ').and.include('Error (PREFLIGHT_FAILED)')
  })

  it('annotates each problem of bootstrap verify, and names it in the summary', async () => {
    const { code, stderr, summary } = await inJob('verify', ['bootstrap', 'verify', 'all'])
    expect([0, 3]).to.include(code)
    expect(summary).to.include('### clawctl bootstrap verify')
    if (code === 3) expect(stderr).to.match(/^::error title=BUNDLE_INCOMPLETE::/m)
  })

  it('writes an unknown target as one annotation and one line of the summary', async () => {
    const { code, stderr, summary } = await inJob('unknown', ['bootstrap', 'verify', 'clawdinator2'])
    expect(code).to.equal(2)
    expect(stderr.match(/^::error title=UNKNOWN_TARGET::/gm)).to.have.length(1)
    expect(summary).to.include('Error (UNKNOWN_TARGET)').and.include('Did you mean clawdinator-2?')
  })
})
