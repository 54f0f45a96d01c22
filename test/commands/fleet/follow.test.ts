import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, expectFailure, LATEST_AMI, OLDER_AMI, type Outcome, TestSandbox } from '../../support/cli.js'

describe('clawctl fleet follow', () => {
  let sandbox: TestSandbox
  let followed: Promise<Outcome>[] = []
  before(async () => {
    sandbox = await TestSandbox.start({ faults: ['host:crash=clawdinator-1'] })
  })
  after(() => sandbox.close())

  const deploy = (target: string, id: string) =>
    sandbox.clawctl('laptop', ['fleet', 'deploy', target, '--request-id', id, '--json'])
  const follow = (as: string, ...args: string[]) => sandbox.clawctl(as, ['fleet', 'follow', ...args])

  it('stops at Ctrl-C, and the deploy goes on', async () => {
    const release = sandbox.hold()
    await deploy('clawdinator-2', 'request-0001')
    await deploy('clawdinator-1', 'request-0002')
    const asked = () => sandbox.inner.requests.filter(({ path }) => path.includes('/request-0002')).length
    const until = async (times: number) => {
      while (asked() < times) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const child = execa(process.execPath, [BIN, 'fleet', 'follow', 'request-0002'], {
      env: await sandbox.environment('laptop'),
      extendEnv: false,
      reject: false,
    })
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => String(chunk).includes('queued behind') && resolve())
    })
    child.kill('SIGINT')
    const { exitCode, stderr } = await child
    const before = asked()
    followed = [follow('laptop', 'request-0001'), follow('clawdinator-2', 'request-0002')]
    await until(before + 1)
    release()
    expect(exitCode).to.equal(1)
    expect(stderr).to.include('Error (CANCELLED)').and.include('`clawctl fleet follow request-0002`')
  })

  it('prints every step and host once, and the deploy that a queued one waits for', async () => {
    const [first, second] = await Promise.all(followed)
    expect(first?.code, first?.stderr).to.equal(0)
    expect(first?.stdout).to.match(/^Deploy of clawdinator-2 with ami-\w+: succeeded$/m)
    const lines = first?.stderr.trim().split('\n') ?? []
    expect(lines).to.include('✔ deploy: Deploy')
    expect(lines.filter((line) => line.startsWith('✔')).length).to.equal(
      new Set(lines.filter((line) => line.startsWith('✔'))).size,
    )
    const steps = lines.flatMap(
      (line) => /^([>+]) clawdinator-2: (.+?)(?: \(\d+s\))?$/.exec(line)?.slice(1).join(' ') ?? [],
    )
    // Each step starts once, and ends before the next one starts.
    expect(steps.length).to.be.above(1)
    for (let i = 0; i < steps.length; i += 2) expect(steps[i + 1]).to.equal(steps[i]?.replace('>', '+'))
    expect(second?.stderr).to.include('queued behind the deploy of clawdinator-2 (request-0001)')
  })

  it("exits by the run's outcome, and shows the hosts", async () => {
    const second = await followed[1]
    expect(second?.code).to.equal(6)
    expect(second?.stdout).to.match(/^ {2}clawdinator-1: kept, ami-/m)
    expect(second?.stderr).to.include('Error (KEPT)')
    expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
  })

  it('returns the same document by request id and run id, on both planes', async () => {
    const runId = String(sandbox.inner.github.runs.find((run) => run.displayTitle.includes('request-0002'))?.id)
    const answers = await Promise.all([
      follow('clawdinator-1', 'request-0002', '--json'),
      follow('laptop', runId, '--json'),
      follow('ci', 'request-0002', '--json'),
      follow('ci', runId, '--json', '--timeout', '1s'),
    ])
    for (const answer of answers) {
      expectFailure(answer, 'KEPT', 6)
      expect(answer.stderr).to.equal('')
      expect(answer.stdout).to.equal(answers[0]?.stdout)
    }
    expect(answers[0]?.json()).to.have.all.keys('ok', 'error', 'deploy')
    expect(answers[0]?.json().deploy).to.include({ status: 'kept', requestId: 'request-0002' })
  })
})
