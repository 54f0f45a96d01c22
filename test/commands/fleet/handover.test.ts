import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { concurrently, expectFailure, inSandbox, LATEST_AMI, OLDER_AMI, temporaryFolder } from '../../support/cli.js'
import { connected, deployInCi, runCommand } from '../../support/stories.js'

const ONE = 'clawdinator-1'

describe('a deploy by handover, through the commands', () => {
  const files = temporaryFolder()
  const begin = () =>
    concurrently({
      kept: () =>
        inSandbox({ faults: ['host:bad-token'] }, async (sandbox) => {
          const ran = await deployInCi(sandbox, [ONE, '--request-id', 'request-0001', '--json'])
          const again = await deployInCi(sandbox, [ONE, '--json'])
          const show = (as: string, ...args: string[]) => sandbox.clawctl(as, ['fleet', 'show', ONE, ...args])
          const [laptop, ci, text, chat, none] = await Promise.all([
            show('laptop', '--json'),
            show('ci', '--json'),
            show('laptop'),
            show('laptop', '--chat'),
            sandbox.clawctl('laptop', ['fleet', 'show', 'clawdinator-7', '--json']),
          ])
          return { ran, again, laptop, ci, text, chat, none, order: connected(sandbox, ONE) }
        }),
      rollback: () =>
        inSandbox({}, async (sandbox) => {
          const nothing = await sandbox.clawctl('ci', ['fleet', 'rollback', ONE, '--json'])
          await deployInCi(sandbox, [ONE])
          const ran = await runCommand(sandbox, 'ci', ['fleet', 'rollback', ONE, '--json'])
          return { nothing, ran, order: connected(sandbox, ONE) }
        }),
      replace: () =>
        inSandbox({}, async (sandbox) => {
          const ran = await deployInCi(sandbox, [ONE, '--strategy', 'replace', '--json'])
          return { ran, order: connected(sandbox, ONE) }
        }),
      lost: () =>
        inSandbox({ running: [ONE, 'clawdinator-2'] }, async (sandbox) => {
          for (const { id } of [...sandbox.world.instances.values()]) sandbox.world.terminate(id)
          const one = await deployInCi(sandbox, [ONE])
          const all = await deployInCi(sandbox, ['all', '--json'])
          return { one, all }
        }),
      killed: () =>
        inSandbox({ faults: ['runner:dies=apply'] }, async (sandbox) => {
          const deploy = ['fleet', 'deploy', ONE, '--wait', '--json']
          const first = await runCommand(sandbox, 'laptop', deploy)
          const status = await sandbox.clawctl('laptop', ['fleet', 'status', '--json'])
          const second = await runCommand(sandbox, 'laptop', deploy)
          return { first, second, status, order: connected(sandbox, ONE) }
        }),
      ami: () =>
        inSandbox({}, (sandbox) =>
          runCommand(sandbox, 'laptop', [
            ...['fleet', 'deploy', ONE, '--ami', 'ami-00000000000000000'],
            ...['--requested-by', 'Jo', '--json'],
          ]),
        ),
      newline: () =>
        inSandbox({}, (sandbox) =>
          runCommand(sandbox, 'ci', ['fleet', 'deploy', '--', 'x](http://e.example)\n\n![t](x)\n::warning::injected'], {
            ...{ GITHUB_ACTIONS: 'true', GITHUB_RUN_ID: '12345678', GITHUB_REPOSITORY: 'o/r' },
            ...{ CLAWCTL_REQUEST_ID: 'request-0009', GITHUB_STEP_SUMMARY: files.path('summary') },
          }),
        ),
      attempt: () =>
        inSandbox({}, async (sandbox) => {
          const asked = ['--request-id', 'request-0001', '--plan-only', '--json']
          const run = { GITHUB_RUN_ID: '12345678', GITHUB_REPOSITORY: 'o/r' }
          await deployInCi(sandbox, [ONE, ...asked], run)
          const second = await deployInCi(sandbox, [ONE, ...asked], { ...run, GITHUB_RUN_ATTEMPT: '2' })
          return { second, records: [...sandbox.bucket.keys()].filter((key) => /^deploys\/request/.test(key)) }
        }),
    })
  let ran: ReturnType<typeof begin>
  before(() => {
    ran = begin()
  })

  it('keeps the old host running if the candidate fails, and then refuses the AMI', async () => {
    const { ran: kept, again, order } = await ran.kept
    expectFailure(kept.outcome, 'KEPT', 6)
    expect(kept.hosts).to.deep.equal([`${ONE} ${OLDER_AMI}`])
    expect(order).to.have.length(1)
    const refused = expectFailure(again.outcome, 'AMI_FAILED_BEFORE', 3)
    expect(refused.message).to.include('request-0001').and.to.include(OLDER_AMI)
  })

  it('shows the same evidence about the candidate on both planes', async () => {
    const { laptop, ci, text, chat, none } = await ran.kept
    expect(ci.json().host.deploys).to.deep.equal(laptop.json().host.deploys)
    expect(Object.keys(ci.json().host.machines[0])).to.deep.equal(Object.keys(laptop.json().host.machines[0]))
    const { machines, deploys, active } = laptop.json().host
    expect(machines).to.have.length(1)
    expect(machines[0]).to.include({ role: 'serving', health: 'healthy', slot: 'a' })
    expect(active.instanceId).to.equal(machines[0].instanceId)
    const failed = deploys.find(({ requestId }: { requestId: string }) => requestId === 'request-0001')
    expect(failed).to.include({ outcome: 'kept', ami: OLDER_AMI })
    expect(failed.evidence).to.include({ ami: LATEST_AMI })
    expect(failed.evidence.stages.at(-1)).to.include({ stage: 'standby' })
    expect(failed.evidence.console.join()).to.include('Linux')
    expect(text.stdout)
      .to.include('failed in request-0001 and was removed')
      .and.to.include('the token of discord is rejected')
    expect(chat.stdout.length).to.be.below(2000)
    expectFailure(none, 'UNKNOWN_TARGET', 2)
  })

  it('rolls back to the previous AMI by the records', async () => {
    const { nothing, ran: rollback, order } = await ran.rollback
    expectFailure(nothing, 'NO_ROLLBACK_TARGET', 2)
    expect(rollback.outcome.code, rollback.outcome.stdout).to.equal(0)
    expect(rollback.outcome.json().deploy).to.include({ amiOverride: OLDER_AMI, status: 'succeeded' })
    expect(rollback.hosts).to.deep.equal([`${ONE} ${OLDER_AMI}`])
    expect(order).to.have.length(3)
  })

  it('uses no additional machine with --strategy replace', async () => {
    const { ran: replace, order } = await ran.replace
    expect(replace.outcome.code, replace.outcome.stdout).to.equal(0)
    expect(replace.hosts).to.deep.equal([`${ONE} ${LATEST_AMI}`])
    expect(order).to.have.length(2)
  })

  it('creates lost hosts again, whatever their number', async () => {
    const { one, all } = await ran.lost
    expect(one.outcome.code, one.outcome.stderr).to.equal(0)
    expect(one.outcome.stderr).to.include('Missing, and not part of this deploy: clawdinator-2')
    expect(one.hosts).to.deep.equal([`${ONE} ${LATEST_AMI}`])
    expect(all.outcome.json().deploy.hosts.map(({ outcome }: { outcome: string }) => outcome)).to.deep.equal([
      'created',
      'replaced',
    ])
  })

  it('resumes after a killed runner, and releases its lock', async () => {
    const { first, second, status, order } = await ran.killed
    expectFailure(first.outcome, 'DEPLOY_FAILED', 1)
    expect(status.json().fleet.instances[0]).to.deep.include({ ami: OLDER_AMI })
    expect(status.json().fleet.instances[0].beside).to.include({ role: 'candidate', ami: LATEST_AMI })
    expect(second.outcome.code, second.outcome.stdout).to.equal(0)
    expect(second.hosts).to.deep.equal([`${ONE} ${LATEST_AMI}`])
    expect(order).to.have.length(2)
  })

  it('refuses a mistyped --ami before a run starts', async () => {
    const { outcome, runs } = await ran.ami
    expectFailure(outcome, 'AMI_NOT_FOUND', 2)
    expect(runs).to.equal(0)
  })

  it('writes no workflow command or Markdown from a target', async () => {
    const { outcome } = await ran.newline
    expect(outcome.code).to.equal(2)
    for (const line of `${outcome.stdout}\n${outcome.stderr}`.split('\n')) expect(line).to.not.match(/^\s*::warning/)
    const summary = await readFile(files.path('summary'), 'utf8')
    expect(summary.split('\n')[0])
      .to.include('x\\]\\(http\\://e.example\\)')
      .and.to.match(/: failed$/)
    expect(summary).to.not.match(/^::/m)
  })

  it('keeps a separate record of each attempt of a run', async () => {
    const { second, records } = await ran.attempt
    expect(second.outcome.json().deploy.requestId).to.equal('request-0001-r2')
    expect(records).to.deep.equal(['deploys/request-0001.json', 'deploys/request-0001-r2.json'])
  })
})
