import { expect } from 'chai'
import { clawctl, inSandbox, registryOf, runInSandbox, TestSandbox, temporaryFolder } from '../../support/cli.js'

describe('clawctl sandbox run --registry', () => {
  const files = temporaryFolder()
  const entry = (id: string, change: object = {}) => ({ ...JSON.parse(registryOf([id]))[id], ...change })
  const two = (change: object) =>
    JSON.stringify({ 'clawdinator-1': entry('clawdinator-1'), 'clawdinator-2': entry('clawdinator-2', change) })
  const once = registryOf(['clawdinator-1'])
  const cases: [string, string, RegExp][] = [
    ['broken JSON', '{ "clawdinator-1": { "host": }', /clawdinator-1: broken JSON/],
    ['an id twice', `${once.slice(0, -2)},${once.slice(1)}`, /clawdinator-1: the id occurs twice/],
    ['a host twice', two({ host: 'clawdinator-1' }), /clawdinator-2: host "clawdinator-1" is already used/],
    ['a prefix twice', two({ bootstrapPrefix: 'bootstrap/clawdinator-1' }), /clawdinator-2: bootstrapPrefix .* used/],
    ['a token twice', two({ discordTokenSecret: 'token-clawdinator-1' }), /clawdinator-2: discordTokenSecret .* used/],
    ['an id of another form', registryOf(['Claw_1']), /Claw_1: the id must begin/],
    ['an unknown key', two({ region: 'eu' }), /clawdinator-2: unknown key "region"/],
    ['a missing key', JSON.stringify({ a: { host: 'a' } }), /a: instanceType is missing/],
  ]
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start({ registry: await files.write('cases.json', once) })
  })
  after(() => sandbox.close())
  for (const [what, text, says] of cases) {
    it(`${what}: reports an error that names the entry`, async () => {
      // Read again each time, like a pushed branch.
      await files.write('cases.json', text)
      const { code, stdout, stderr } = await sandbox.clawctl('laptop', ['fleet', 'status'])
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' })
      expect(stderr).to.match(/^Error \(INVALID_REGISTRY\): .*nix\/instances\.json:\d+:\d+: /)
      expect(stderr).to.match(says)
    })
  }

  it('stops a deploy on both planes, and `registry list`', async () => {
    const registry = await files.write('stops.json', two({ host: 'clawdinator-1' }))
    await inSandbox({ registry }, async (broken) => {
      const outcomes = await Promise.all([
        broken.clawctl('ci', ['fleet', 'deploy', 'clawdinator-1']),
        broken.clawctl('ci', ['registry', 'list']),
        broken.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-1']),
      ])
      for (const { code, stderr } of outcomes) {
        expect(code).to.equal(2)
        expect(stderr).to.match(/^Error \(INVALID_REGISTRY\): .*clawdinator-2/m)
      }
    })
  })

  it('names a file that does not exist', async () => {
    const { code, stderr } = await clawctl(['sandbox', 'run', '--registry', '/nowhere/instances.json', '--', 'true'])
    expect(code).to.equal(2)
    expect(stderr).to.include('REGISTRY_NOT_FOUND').and.include('/nowhere/instances.json')
  })

  it('uses another registry on both planes and in `registry list`', async () => {
    const registry = await files.write('mine.json', registryOf(['clawdinator-1', 'my-claw']))
    const { stdout } = await runInSandbox({ registry, as: 'ci' }, 'clawctl registry list; clawctl fleet status')
    expect(stdout).to.match(/^my-claw +my-claw +t3\.large +bootstrap\/my-claw +token-my-claw$/m)
    expect(stdout).to.match(/^my-claw +missing/m)
  })
})
