import { expect } from 'chai'
import { registryOf, TestSandbox, temporaryFolder } from '../support/cli.js'

/** docs/SECOND_FLEET.md: other ids than the first fleet's, from the registry to the machine. */
describe('a second fleet with its own ids', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    const registry = await files.write('instances.json', registryOf(['crab-1', 'crab-2']))
    sandbox = await TestSandbox.start({ registry, running: ['crab-1'] })
  })
  after(() => sandbox.close())

  it('deploys and shows its own instances, and none of the first fleet', async () => {
    const deployed = await sandbox.clawctl('crab-1', ['fleet', 'deploy', 'crab-2', '--wait', '--json'])
    expect(deployed.code, deployed.stdout).to.equal(0)
    const status = (await sandbox.clawctl('laptop', ['fleet', 'status', '--json'])).json()
    const seen = status.fleet.instances.map((one: { id: string; health: string }) => [one.id, one.health])
    expect(seen).to.deep.equal([
      ['crab-1', 'healthy'],
      ['crab-2', 'healthy'],
    ])
    const foreign = await sandbox.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-1', '--json'])
    expect(foreign.json().error.code).to.equal('UNKNOWN_TARGET')
    const tags = [...sandbox.world.instances.values()].map(({ tags }) => tags.get('clawdinator:id'))
    expect(tags).to.have.members(['crab-1', 'crab-2'])
  })
})
