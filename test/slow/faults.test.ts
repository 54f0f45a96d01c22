import { expect } from 'chai'
import { BUCKET } from '../../sandbox/firstState.js'
import { FLEET_STATE_KEY } from '../../src/lib/domain/paths.js'
import { concurrently, expectFailure, inSandbox, LATEST_AMI, OLDER_AMI, type TestSandbox } from '../support/cli.js'
import { withFaults as once } from '../support/stories.js'

const BOTH = [`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`]
const STATUS = ['fleet', 'status']
const DEPLOY = ['fleet', 'deploy', 'clawdinator-2']

/** The kinds of faults that test/commands/fleet/faults.test.ts leaves out. */
describe('other kinds of faults', () => {
  const begin = () =>
    concurrently(
      {
        'ec2:reset and s3:throttle': once(['ec2:reset', 's3:throttle'], 'ci', DEPLOY),
        'ec2:error and s3:reset': once(['ec2:error', 's3:reset'], 'ci', DEPLOY),
        'github:error': once(['github:error'], 'laptop', DEPLOY),
        'github:reset': once(['github:reset'], 'laptop', DEPLOY),
        'api:throttle': once(['api:throttle'], 'laptop', DEPLOY),
        'api:error': once(['api:error'], 'laptop', DEPLOY),
        'ec2:error=always': once(['ec2:error=always'], 'laptop', STATUS),
        's3:reset=always': once(['s3:reset=always'], 'ci', ['bootstrap', 'verify', 'all']),
        'github:throttle=always': once(['github:throttle=always'], 'laptop', DEPLOY),
        'api:error=always': once(['api:error=always'], 'laptop', DEPLOY),
        'api:throttle=always': once(['api:throttle=always'], 'laptop', STATUS),
      },
      8,
    )
  let ran: ReturnType<typeof begin>
  before(() => {
    ran = begin()
  })

  for (const fault of ['ec2:reset and s3:throttle', 'ec2:error and s3:reset'] as const) {
    it(`${fault}: transient failures do not stop a deploy in CI`, async () => {
      const { outcome, hosts } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect(outcome.json().deploy.status).to.equal('succeeded')
      expect(hosts).to.deep.equal(BOTH)
    })
  }

  for (const fault of ['github:error', 'github:reset'] as const) {
    it(`${fault}: a deploy is queued once despite transient failures`, async () => {
      const { outcome, runs } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect(outcome.json().deploy.status).to.equal('queued')
      expect(runs).to.equal(1)
    })
  }

  for (const fault of ['api:throttle', 'api:error'] as const) {
    it(`${fault}: a repeated request starts one run`, async () => {
      const { outcome, asked, runs } = await ran[fault]
      expect(outcome.code, outcome.stdout).to.equal(0)
      expect({ api: asked.api, runs }).to.deep.equal({ api: 3, runs: 1 })
    })
  }

  const outages: [keyof ReturnType<typeof begin> & `${string}=always`, string][] = [
    ['ec2:error=always', 'UPSTREAM'],
    ['s3:reset=always', 'UPSTREAM'],
    ['github:throttle=always', 'RATE_LIMITED'],
    ['api:error=always', 'UPSTREAM'],
    ['api:throttle=always', 'RATE_LIMITED'],
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
})

/** Kind and subject of what `fleet recover` finds; of locks and records the kind alone, as their ids differ each time. */
async function disagreements(sandbox: TestSandbox, ...args: string[]): Promise<string[]> {
  const outcome = await sandbox.clawctl('ci', ['fleet', 'recover', ...args, '--json'])
  expect(outcome.code, outcome.stdout + outcome.stderr).to.equal(0)
  return outcome
    .json()
    .recovery.findings.map(({ kind, subject }: { kind: string; subject: string }) =>
      kind === 'lock' || kind === 'record' ? kind : `${kind} ${subject}`,
    )
}

describe('a runner that dies during an apply', () => {
  const moments = {
    role: { roles: 2, profiles: 1, instances: 1 },
    policy: { roles: 2, instances: 1 },
    profile: { roles: 2, profiles: 2, instances: 1 },
    apply: { roles: 2, profiles: 2, instances: 2 },
  } as const

  for (const [moment, left] of Object.entries(moments)) {
    it(`runner:dies=${moment}: the next deploy resumes with resources that are outside of the state`, async () => {
      await inSandbox({ faults: [`runner:dies=${moment}`] }, async (sandbox) => {
        const { world } = sandbox.inner
        const outcome = await sandbox.clawctl('laptop', [...DEPLOY, '--wait', '--json'])
        const text = (key: string) => world.getObject(BUCKET, key)?.body.toString() ?? null
        const { roles, profiles } = world.iam
        expect(outcome.code).to.equal(1)
        expect({ roles: roles.size, profiles: profiles.size, instances: world.instances.size }).to.include(left)
        expect(text(FLEET_STATE_KEY)).to.include('clawdinator-1').and.not.to.include('clawdinator-2')
        expect(JSON.parse(text(`${FLEET_STATE_KEY}.tflock`) ?? '{}').Info).to.match(
          /\/actions\/runs\/\d+\/attempts\/1$/,
        )

        const again = await sandbox.clawctl('laptop', [...DEPLOY, '--wait', '--json'])
        expect(again.code, again.stdout).to.equal(0)
        expect(sandbox.hosts()).to.deep.equal(BOTH)
        expect(text(FLEET_STATE_KEY)).to.include('clawdinator-2')
        expect(text(`${FLEET_STATE_KEY}.tflock`)).to.equal(null)
        expect({ roles: roles.size, profiles: profiles.size }).to.deep.equal({ roles: 2, profiles: 2 })
        expect(await disagreements(sandbox)).to.deep.equal(['record'])
      })
    })
  }

  it('runner:dies=terminate: the next deploy removes the old machine that was being destroyed', async () => {
    await inSandbox({ faults: ['runner:dies=terminate'] }, async (sandbox) => {
      const first = await sandbox.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-1', '--wait', '--json'])
      expect(first.code).to.equal(1)
      const again = await sandbox.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-1', '--wait', '--json'])
      expect(again.code, again.stdout).to.equal(0)
      expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${LATEST_AMI}`])
      expect(await disagreements(sandbox)).to.deep.equal(['record'])
    })
  })

  it('leaves nothing behind after a cancellation during a creation, and blocks no later deploy', async () => {
    await inSandbox({}, async (sandbox) => {
      const stop = sandbox.world.onLaunch(() => {
        stop()
        const run = sandbox.inner.github.runs.find(({ status }) => status === 'in_progress')
        if (run) sandbox.inner.github.cancelRun(run.id)
      })
      const cancelled = await sandbox.clawctl('laptop', [...DEPLOY, '--wait', '--json'])
      expect(cancelled.json().error.code, cancelled.stdout).to.equal('CANCELLED')
      const log = sandbox.inner.github.runs[0]?.jobs.at(-1)?.log.map(({ text }) => text) ?? []
      expect(log.filter((line) => line.includes('was interrupted during its creation'))).to.have.length(1)
      expect(await disagreements(sandbox, '--plan-only')).to.deep.equal([])
      const deploy = async (id: string) => {
        const { code, stdout } = await sandbox.clawctl('laptop', ['fleet', 'deploy', id, '--wait', '--json'])
        expect(code, stdout).to.equal(0)
      }
      await deploy('clawdinator-1')
      await deploy('clawdinator-2')
      expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${LATEST_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
      expect(await disagreements(sandbox)).to.deep.equal([])
    })
  })

  it('is corrected by fleet recover without a deploy, after --plan-only shows it', async () => {
    await inSandbox({ faults: ['runner:dies=apply'] }, async (sandbox) => {
      await sandbox.clawctl('laptop', [...DEPLOY, '--wait', '--json'])
      const seen = await disagreements(sandbox, '--plan-only')
      expect(seen).to.deep.equal([
        'lock',
        'machine clawdinator-2',
        'object role clawdinator-2',
        'object policy of role clawdinator-2',
        'object instance profile clawdinator-2',
        'record',
      ])
      expect(await disagreements(sandbox)).to.deep.equal(seen)
      expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`])
      expect(await disagreements(sandbox)).to.deep.equal([])
    })
  })
})
