import { expect } from 'chai'
import { inSandbox, LATEST_AMI } from '../support/cli.js'
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
})
