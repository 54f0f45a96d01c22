import { mkdir } from 'node:fs/promises'
import { delimiter } from 'node:path'
import { expect } from 'chai'
import { Sandbox } from '../../../sandbox/sandbox.js'
import { copyCheckout, ROOT, surroundings, temporaryFolder } from '../../support/cli.js'
import { writeFakeNix } from '../../support/fakeNix.js'

describe('the image workflow, run in the sandbox', () => {
  const files = temporaryFolder()
  let sandbox: Sandbox

  before(async () => {
    const checkout = files.path('checkout')
    await mkdir(checkout)
    await copyCheckout(checkout)
    await files.write('checkout/flake.nix', '{ outputs = _: { }; }')
    await writeFakeNix(files.path('bin'))
    const env = surroundings()
    sandbox = await Sandbox.start({
      packageRoot: ROOT,
      checkoutRoot: checkout,
      registryFile: null,
      runningIds: [],
      faults: [],
      tofu: 'stand-in',
      env: { ...env, PATH: `${files.path('bin')}${delimiter}${env.PATH}` },
    })
  })
  after(() => sandbox.close())

  async function run(inputs: Record<string, string>) {
    const dispatched = await sandbox.github.dispatch('image-build.yml', 'main', inputs)
    if (!dispatched.ok) throw new Error(dispatched.message)
    while (dispatched.run.status !== 'completed') await new Promise((resolve) => setTimeout(resolve, 20))
    const steps = dispatched.run.jobs.flatMap((job) => job.steps)
    const log = dispatched.run.jobs.flatMap((job) => job.log.map(({ text }) => text)).join('\n')
    return {
      title: dispatched.run.displayTitle,
      conclusion: dispatched.run.conclusion,
      log,
      outcomes: Object.fromEntries(steps.map(({ name, conclusion }) => [name, conclusion])),
      summary: steps.map(({ summary }) => summary).join(''),
    }
  }

  it('builds, imports directly, boots and reports, and the next deploy uses the AMI', async () => {
    const { title, conclusion, log, outcomes, summary } = await run({})
    expect(conclusion, log).to.equal('success')
    expect(log).to.include('title=No flake.lock::')
    expect(title).to.equal('image build (workflow_dispatch)')
    expect(outcomes).to.include({ Upload: 'skipped', 'Smoke boot': 'success' })
    const latest = sandbox.world.latestImage()
    expect(latest?.tags.get('revision')).to.equal('9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9')
    expect(summary)
      .to.include(`| AMI | ${latest?.id} |`)
      .and.match(/\| Previous \| ami-0a1c1aad1e5000002 /)
    expect(summary)
      .to.match(/\| Sent \| .* 100% of the data \|/)
      .and.match(/\| Booted in \| \d+ s \|/)
    expect(sandbox.world.securityGroups.size).to.equal(0)
  })

  it('imports with VM Import, without a boot', async () => {
    const { conclusion, log, outcomes } = await run({ method: 'vm-import', smoke: 'false' })
    expect(conclusion, log).to.equal('success')
    expect(outcomes).to.include({ 'Smoke boot': 'skipped', 'Import with VM Import': 'success' })
    expect(sandbox.world.latestImage()?.name).to.match(/^clawdinator-[0-9a-f]{12}$/)
    expect([...sandbox.world.imports.values()].map(({ status }) => status)).to.deep.equal(['completed'])
  })
})
