import { expect } from 'chai'
import { concurrently, expectFailure, inSandbox, LATEST_AMI, OLDER_AMI } from '../../support/cli.js'
import { withFaults as once, runCommand } from '../../support/stories.js'

const BOTH = [`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`]

const STATUS = ['fleet', 'status']
const DEPLOY = ['fleet', 'deploy', 'clawdinator-2']

describe('faults', () => {
  /** Transient faults: one retry layer survives them. */
  const begin = () =>
    concurrently(
      {
        // Two services at a time, because each has its own retry layer.
        'ec2:throttle and s3:error': once(['ec2:throttle', 's3:error'], 'ci', DEPLOY),
        'github:throttle': once(['github:throttle'], 'laptop', DEPLOY),
        'api:reset': once(['api:reset'], 'laptop', DEPLOY),
        'api:slow': once(['api:slow=1s'], 'laptop', STATUS),
        'ec2:throttle=always': once(['ec2:throttle=always'], 'ci', STATUS),
        's3:error=always': once(['s3:error=always'], 'ci', DEPLOY),
        'github:error=always': once(['github:error=always'], 'laptop', DEPLOY),
        'api:reset=always': once(['api:reset=always'], 'laptop', STATUS),
        waiting: () =>
          inSandbox({}, async (sandbox) => {
            const asked = sandbox.clawctl('laptop', [...DEPLOY, '--wait', '--json'])
            while (sandbox.inner.github.runs.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
            sandbox.addFault('api:error=5')
            return { outcome: await asked, hosts: sandbox.hosts() }
          }),
        'runner:dies': () =>
          inSandbox({ faults: ['runner:dies'] }, async (sandbox) => {
            const died = await runCommand(sandbox, 'laptop', [...DEPLOY, '--wait', '--json'])
            const [recorded] = (await sandbox.clawctl('laptop', ['fleet', 'history', '--json'])).json().deploys
            const next = await runCommand(sandbox, 'laptop', [...DEPLOY, '--wait', '--json'])
            return { died, recorded, next }
          }),
      },
      8,
    )
  let ran: ReturnType<typeof begin>
  before(() => {
    ran = begin()
  })

  for (const fault of ['ec2:throttle and s3:error'] as const) {
    it(`${fault}: transient failures do not stop a deploy in CI`, async () => {
      const { outcome, hosts } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect(outcome.json().deploy.status).to.equal('succeeded')
      expect(hosts).to.deep.equal(BOTH)
    })
  }

  for (const fault of ['github:throttle'] as const) {
    it(`${fault}: a deploy is queued once despite transient failures`, async () => {
      const { outcome, runs } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect(outcome.json().deploy.status).to.equal('queued')
      expect(runs).to.equal(1)
    })
  }

  for (const fault of ['api:reset'] as const) {
    it(`${fault}: a repeated request starts one run`, async () => {
      const { outcome, asked, runs } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect({ api: asked.api, runs }).to.deep.equal({ api: 3, runs: 1 })
    })
  }

  it('api:slow: a late answer is accepted', async () => {
    const { outcome, tookMs } = await ran['api:slow']
    expect(outcome.code).to.equal(0)
    expect(tookMs).to.be.above(1000)
  })

  const outages: [keyof ReturnType<typeof begin> & `${string}=always`, string][] = [
    ['ec2:throttle=always', 'RATE_LIMITED'],
    ['s3:error=always', 'UPSTREAM'],
    ['github:error=always', 'UPSTREAM'],
    ['api:reset=always', 'UPSTREAM'],
  ]
  for (const [fault, code] of outages) {
    it(`${fault}: ends with ${code} after a bounded number of attempts`, async () => {
      const { outcome, asked, hosts, tookMs, runs } = await ran[fault]
      expectFailure(outcome, code, 4)
      const service = fault.split(':')[0] ?? ''
      expect(asked[service]).to.be.above(1).and.below(40)
      expect(tookMs).to.be.below(100_000)
      expect({ hosts, runs }).to.deep.equal({ hosts: [`clawdinator-1 ${OLDER_AMI}`], runs: 0 })
    })
  }

  it('continues the deploy if its follower loses the connection', async () => {
    const { outcome, hosts } = await ran.waiting
    expect(outcome.code, outcome.stdout).to.equal(0)
    expect(outcome.json().deploy.status).to.equal('succeeded')
    expect(hosts).to.deep.equal(BOTH)
  })

  it('runner:dies: the deploy fails, and the next one succeeds without manual work', async () => {
    const { died, recorded, next } = await ran['runner:dies']
    expect(died.outcome.code, died.outcome.stdout).to.equal(1)
    expect(died.outcome.json().error.code).to.equal('DEPLOY_FAILED')
    expect(recorded).to.include({ status: 'failed' })
    // The runner may or may not have seen the healthy host before it was killed.
    expect(recorded.hosts[0]?.outcome).to.be.oneOf(['failed', 'created'])
    expect(next.outcome.code, next.outcome.stdout).to.equal(0)
    expect(next.outcome.json().deploy.status).to.equal('succeeded')
    expect(next.hosts).to.deep.equal(BOTH)
  })
})
