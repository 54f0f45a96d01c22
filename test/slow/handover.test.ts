import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, concurrently, inSandbox, LATEST_AMI, OLDER_AMI, type TestSandbox } from '../support/cli.js'
import { connected, deployInCi } from '../support/stories.js'

const ONE = 'clawdinator-1'

describe('a handover from a host that does not yield', () => {
  const faults = ['host:no-yield']
  const begin = () =>
    concurrently({
      fenced: () =>
        inSandbox({ faults }, async (sandbox) => {
          const ran = await deployInCi(sandbox, [ONE, '--json'], { CLAWCTL_HEALTH_TIMEOUT: '20s' })
          return { ran, connected: connected(sandbox, ONE) }
        }),
      interrupted: () => inSandbox({ faults }, interrupted),
      cancelled: () => inSandbox({ faults }, cancelled),
    })
  let ran: ReturnType<typeof begin>
  before(() => {
    ran = begin()
  })

  it('stops the old host by EC2 before the candidate becomes active', async () => {
    const { ran: deploy, connected } = await ran.fenced
    expect(deploy.outcome.code, deploy.outcome.stdout).to.equal(0)
    expect(deploy.hosts).to.deep.equal([`${ONE} ${LATEST_AMI}`])
    expect(connected).to.have.length(2)
  })

  async function interrupted(sandbox: TestSandbox) {
    const env = await sandbox.environment('ci')
    const argv = [BIN, 'fleet', 'deploy', ONE]
    const child = execa(process.execPath, argv, { env, extendEnv: false, reject: false, all: true })
    child.all?.on('data', (chunk) => {
      if (String(chunk).includes('EC2 stops it')) child.kill('SIGINT')
    })
    const { exitCode, all } = await child
    const { fleet } = (await sandbox.clawctl('ci', ['fleet', 'status', '--watch', '--json'])).json()
    const { deploys } = (await sandbox.clawctl('ci', ['fleet', 'history', '--json'])).json()
    return {
      exitCode,
      all,
      instance: fleet.instances[0],
      host: deploys[0].hosts[0],
      connected: connected(sandbox, ONE),
    }
  }

  it('serves again if the deploy is interrupted while EC2 stops the old host', async () => {
    const { exitCode, all, instance, host, connected } = await ran.interrupted
    expect(exitCode, all).to.equal(1)
    expect(all).to.include('EC2 was asked to stop').and.include(`Deploy ${ONE} again`)
    expect(instance).to.include({ id: ONE, state: 'running', ami: OLDER_AMI })
    expect(host).to.include({ outcome: 'failed', instanceId: instance.instanceId })
    expect(new Set(connected).size).to.equal(1)
  })

  /** GitHub cancels the run at the moment of the request to EC2 to stop the host, and kills the deploy. */
  async function cancelled(sandbox: TestSandbox) {
    const { github } = sandbox.inner
    Object.assign(github.options, { limits: { sigintMs: 1, sigtermMs: 1 } })
    const stopped = new Promise<void>((resolve) => {
      sandbox.world.onStop(() => {
        github.cancelRun(github.runs[0]?.id ?? 0)
        resolve()
      })
    })
    const queued = await sandbox.clawctl('laptop', ['fleet', 'deploy', ONE, '--json'])
    await stopped
    const { requestId } = queued.json().deploy
    const followed = await sandbox.clawctl('laptop', ['fleet', 'follow', requestId, '--json'])
    const { recovery } = (await sandbox.clawctl('ci', ['fleet', 'recover', '--plan-only', '--json'])).json()
    const log = github.runs[0]?.jobs.flatMap((job) => job.log.map(({ text }) => text)).join('\n')
    return { followed, recovery, log, hosts: sandbox.hosts(), connected: connected(sandbox, ONE) }
  }

  it('serves again before the cancelled run ends, although its deploy was killed', async () => {
    const { followed, recovery, log, hosts, connected } = await ran.cancelled
    expect(followed.code, log).to.equal(1)
    expect(followed.json().error.code).to.equal('CANCELLED')
    expect(hosts).to.deep.equal([`${ONE} ${OLDER_AMI}`])
    expect(connected, log).to.have.length(2)
    expect(new Set(connected).size).to.equal(1)
    expect(recovery.findings).to.deep.equal([])
  })
})
