import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, expectFailure, LATEST_AMI, OLDER_AMI, TestSandbox } from '../support/cli.js'

describe('clawctl fleet follow', () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  const deploy = (target: string, id: string) =>
    sandbox.clawctl('laptop', ['fleet', 'deploy', target, '--request-id', id, '--json'])
  const follow = (as: string, ...args: string[]) => sandbox.clawctl(as, ['fleet', 'follow', ...args])

  it('tells what a queued deploy waits for; Ctrl-C ends the following and not the deploy', async () => {
    await deploy('clawdinator-2', 'request-0001')
    await deploy('clawdinator-1', 'request-0002')
    const child = execa(process.execPath, [BIN, 'fleet', 'follow', 'request-0002', '--json'], {
      env: await sandbox.environment('clawdinator-1'),
      extendEnv: false,
      reject: false,
    })
    // Nothing is said under --json: it is asked for when the second request of the deploy's state is in.
    const asked = () => sandbox.inner.requests.filter(({ path }) => path.endsWith('/request-0002')).length
    while (asked() < 1) await new Promise((resolve) => setTimeout(resolve, 10))
    child.kill('SIGINT')
    const { exitCode, stdout, stderr } = await child
    const failure = expectFailure(
      { code: exitCode ?? -1, stdout, stderr, json: () => JSON.parse(stdout) },
      'CANCELLED',
      1,
    )
    expect(failure.hint).to.include('`clawctl fleet follow request-0002`')
  })

  it('ends when the deploy does, with every step and host told once', async () => {
    const [first, second] = await Promise.all([
      follow('laptop', 'request-0001'),
      follow('clawdinator-1', 'request-0002'),
    ])
    expect([first.code, second.code], first.stderr + second.stderr).to.deep.equal([0, 0])
    expect(second.stdout).to.match(/^Deploy of clawdinator-1 with ami-\w+: succeeded$/m)
    const told = second.stderr.trim().split('\n')
    expect(told).to.include('✔ deploy: Deploy').and.include('clawdinator-1: replaced')
    expect(new Set(told).size).to.equal(told.length)
    expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${LATEST_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
  })

  it('is the same document by request id and run id, through the Control API and on the direct plane', async () => {
    const runId = String(sandbox.inner.github.runs.find((run) => run.displayTitle.includes('request-0002'))?.id)
    const answers = await Promise.all([
      follow('clawdinator-1', 'request-0002', '--json'),
      follow('laptop', runId, '--json'),
      follow('ci', 'request-0002', '--json'),
    ])
    expect(answers.map(({ code }) => code)).to.deep.equal([0, 0, 0])
    expect(new Set(answers.map(({ stdout }) => stdout)).size).to.equal(1)
    expect(answers[0]?.json()).to.have.all.keys('ok', 'deploy')
    expect(answers[0]?.json().deploy).to.include({ status: 'succeeded', requestId: 'request-0002' })
  })

  it('exits as the run ended, and shows the hosts', async () => {
    sandbox.inner.publishImage()
    sandbox.addFault('host:crash')
    await deploy('clawdinator-2', 'request-0003')
    const late = follow('laptop', 'request-0003', '--timeout', '50ms')
    const people = await follow('laptop', 'request-0003')
    expect((await late).code).to.equal(5)
    expect(people.code).to.equal(6)
    expect(people.stdout).to.match(/^ {2}clawdinator-2: rolled-back, ami-/m)
    expect(people.stderr).to.include('Error (ROLLED_BACK)')
    const script = await follow('ci', 'request-0003', '--json')
    expectFailure(script, 'ROLLED_BACK', 6)
    expect(script.json().deploy).to.include({ status: 'rolled-back' })
    expect(script.stderr).to.equal('')
    expect(sandbox.hosts()).not.to.include(`clawdinator-2 ${OLDER_AMI}`)
  })

  it('names the id that was meant', async () => {
    const { hint } = expectFailure(await follow('laptop', 'request-0004', '--json'), 'NOT_FOUND', 2)
    expect(hint).to.match(/^Did you mean request-000[123]\? See `clawctl fleet history`/)
  })
})
