import { expect } from 'chai'
import { concurrently, expectFailure, inSandbox, LATEST_AMI, OLDER_AMI } from '../support/cli.js'
import { deployInCi as deploy, outcomesOf as outcomes } from '../support/stories.js'

const BEFORE = [`clawdinator-1 ${OLDER_AMI}`]

/** The branches of a deploy that `test/ops` tests without the sandbox, here from the command line to the emulated EC2. */
describe('clawctl fleet deploy in ci mode, the longer scenarios', () => {
  const begin = () =>
    concurrently({
      planOne: () => inSandbox({}, (sandbox) => deploy(sandbox, ['clawdinator-2', '--plan-only', '--json'])),
      rollback: () =>
        inSandbox({ faults: ['host:unhealthy=clawdinator-1'] }, (sandbox) =>
          deploy(sandbox, ['clawdinator-1', '--strategy', 'replace', '--health-timeout', '2s', '--json']),
        ),
      canary: () =>
        inSandbox({ running: ['clawdinator-1', 'clawdinator-2'], faults: ['host:crash'] }, (sandbox) =>
          deploy(sandbox, ['all', '--strategy', 'replace', '--json']),
        ),
      created: () => inSandbox({ faults: ['host:crash'] }, (sandbox) => deploy(sandbox, ['clawdinator-2', '--json'])),
      dead: () =>
        inSandbox({ faults: ['host:dead'] }, (sandbox) =>
          deploy(sandbox, ['clawdinator-1', '--strategy', 'replace', '--health-timeout', '1s', '--json']),
        ),
    })
  let ran: ReturnType<typeof begin>
  before(() => {
    ran = begin()
  })

  it('plans and guards a host with --plan-only, and applies nothing', async () => {
    const { outcome, hosts, launches } = await ran.planOne
    expect(outcome.code, outcome.stdout).to.equal(0)
    expect(outcome.json().deploy.status).to.equal('planned')
    expect(outcomes(await ran.planOne)).to.deep.equal(['clawdinator-2 planned'])
    expect({ hosts, launches }).to.deep.equal({ hosts: BEFORE, launches: 1 })
  })

  it('rolls back to the previous AMI if a host never becomes healthy: exit 6', async () => {
    const rollback = await ran.rollback
    const error = expectFailure(rollback.outcome, 'ROLLED_BACK', 6)
    expect(error.message).to.include('2 seconds').and.include(OLDER_AMI)
    expect(outcomes(rollback)).to.deep.equal(['clawdinator-1 rolled-back'])
    expect(rollback.outcome.json().deploy.hosts[0].ami).to.equal(OLDER_AMI)
    expect(rollback.hosts).to.deep.equal(BEFORE)
    expect(rollback.launches).to.equal(3)
  })

  it('stops at the canary, without a change of the other hosts', async () => {
    const canary = await ran.canary
    expectFailure(canary.outcome, 'ROLLED_BACK', 6)
    expect(outcomes(canary)).to.deep.equal(['clawdinator-1 rolled-back', 'clawdinator-2 skipped'])
    expect(canary.hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${OLDER_AMI}`])
    expect(canary.launches).to.equal(4)
  })

  it('reports a new host that fails without a rollback target', async () => {
    const { outcome, hosts } = await ran.created
    expect(expectFailure(outcome, 'HEALTH_FAILED', 1).message).to.include('did not exist before')
    expect(hosts[0]).to.equal(BEFORE[0])
  })

  it('fails with ROLLBACK_FAILED if the previous AMI is not healthy either', async () => {
    const { outcome } = await ran.dead
    const { message } = expectFailure(outcome, 'ROLLBACK_FAILED', 1)
    expect(message).to.include(LATEST_AMI).and.include(OLDER_AMI)
  })
})
