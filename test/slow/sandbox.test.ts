import { expect } from 'chai'
import { clawctl, inSandbox } from '../support/cli.js'

describe('the whole plane in the sandbox', () => {
  it('prints one document for sandbox demo --json', async () => {
    const outcome = await clawctl(['sandbox', 'demo', '--json'])
    expect(outcome.code).to.equal(0)
    expect(outcome.json().steps).to.have.length(9)
  })

  it('deploys all hosts except the one that sent the request', async () => {
    await inSandbox({ running: ['clawdinator-1', 'clawdinator-2'] }, async (sandbox) => {
      const asked = ['fleet', 'deploy', 'all', '--requested-by', 'Jo', '--wait', '--json']
      const outcome = await sandbox.clawctl('clawdinator-1', asked)
      expect(outcome.code).to.equal(0)
      const hosts = outcome.json().deploy.hosts.map((h: { id: string; outcome: string }) => `${h.id} ${h.outcome}`)
      expect(hosts).to.deep.equal(['clawdinator-2 replaced', 'clawdinator-1 skipped'])
    })
  })
})
