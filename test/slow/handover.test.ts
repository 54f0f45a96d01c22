import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, inSandbox, LATEST_AMI, OLDER_AMI } from '../support/cli.js'
import { connected, deployInCi } from '../support/stories.js'

const ONE = 'clawdinator-1'

describe('a handover from a host that does not yield', () => {
  it('has EC2 stop it, before its successor acts', async () => {
    await inSandbox({ faults: ['host:no-yield'] }, async (sandbox) => {
      const ran = await deployInCi(sandbox, [ONE, '--json'], { CLAWCTL_HEALTH_TIMEOUT: '20s' })
      expect(ran.outcome.code, ran.outcome.stdout).to.equal(0)
      expect(ran.hosts).to.deep.equal([`${ONE} ${LATEST_AMI}`])
      expect(connected(sandbox, ONE)).to.have.length(2)
    })
  })

  it('serves again when the deploy is interrupted while EC2 stops it', async () => {
    await inSandbox({ faults: ['host:no-yield'] }, async (sandbox) => {
      const env = await sandbox.environment('ci')
      const argv = [BIN, 'fleet', 'deploy', ONE]
      const child = execa(process.execPath, argv, { env, extendEnv: false, reject: false, all: true })
      child.all?.on('data', (chunk) => {
        if (String(chunk).includes('EC2 stops it')) child.kill('SIGINT')
      })
      const { exitCode, all } = await child
      expect(exitCode, all).to.equal(1)
      expect(all).to.include('EC2 was asked to stop').and.include(`Deploy ${ONE} again`)
      const { fleet } = (await sandbox.clawctl('ci', ['fleet', 'status', '--watch', '--json'])).json()
      expect(fleet.instances[0]).to.include({ id: ONE, state: 'running', ami: OLDER_AMI })
      const { deploys } = (await sandbox.clawctl('ci', ['fleet', 'history', '--json'])).json()
      expect(deploys[0].hosts[0]).to.include({ outcome: 'failed', instanceId: fleet.instances[0].instanceId })
      expect(new Set(connected(sandbox, ONE)).size).to.equal(1)
    })
  })
})
