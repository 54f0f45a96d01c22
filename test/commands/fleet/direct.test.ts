import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import {
  concurrently,
  copyCheckout,
  expectFailure,
  inSandbox,
  LATEST_AMI,
  minimalCheckout,
  OLDER_AMI,
  temporaryFolder,
} from '../../support/cli.js'
import { deployInCi as deploy, outcomesOf as outcomes } from '../../support/stories.js'

const BEFORE = [`clawdinator-1 ${OLDER_AMI}`]
const STACK = 'infra/opentofu/aws/fleet/main.tf'

describe('clawctl fleet deploy in ci mode', () => {
  const files = temporaryFolder()
  const begin = () =>
    concurrently({
      planOnly: () => inSandbox({}, (sandbox) => deploy(sandbox, ['all', '--plan-only', '--json'])),
      one: () =>
        inSandbox({ running: ['clawdinator-1', 'clawdinator-2'] }, async (sandbox) => {
          const env = { GITHUB_STEP_SUMMARY: files.path('summary'), GITHUB_OUTPUT: files.path('output') }
          const asked = ['--requested-by', 'Jo', '--request-id', 'request-0001']
          const ran = await deploy(sandbox, ['clawdinator-2', ...asked, '--json'], env)
          const state = sandbox.bucket.get('state/fleet.tfstate')?.body.toString() ?? ''
          const record = sandbox.bucket.get('deploys/request-0001.json')?.body.toString() ?? ''
          return { ran, state, record }
        }),
      all: () => inSandbox({}, (sandbox) => deploy(sandbox, ['all', '--json'])),
      ami: () =>
        inSandbox({}, async (sandbox) => {
          sandbox.world.addImage({ id: 'ami-0123456789abcdef0', name: 'building', state: 'pending' })
          return {
            none: await deploy(sandbox, ['clawdinator-2', '--ami', 'ami-00000000000000000', '--json']),
            pending: await deploy(sandbox, ['clawdinator-2', '--ami', 'ami-0123456789abcdef0', '--json']),
            // CommandRun to people.
            older: await deploy(sandbox, ['clawdinator-2', '--ami', OLDER_AMI]),
          }
        }),
      noImage: () =>
        inSandbox({}, async (sandbox) => {
          for (const image of sandbox.world.images.values()) image.tags.delete('clawdinator')
          return deploy(sandbox, ['clawdinator-2', '--json'])
        }),
      stop: () =>
        inSandbox({ faults: ['host:unhealthy'] }, (sandbox) =>
          deploy(sandbox, ['clawdinator-1', '--on-failure', 'stop', '--health-timeout', '1s', '--json']),
        ),
      crash: () =>
        inSandbox({ faults: ['host:crash'] }, async (sandbox) => {
          const started = Date.now()
          const ran = await deploy(sandbox, ['clawdinator-1', '--health-timeout', '5m', '--json'])
          return { ran, tookMs: Date.now() - started }
        }),
      bundle: () =>
        inSandbox({}, async (sandbox) => {
          for (const key of sandbox.bucket.keys()) if (/-1\/secrets\/openai/.test(key)) sandbox.bucket.delete(key)
          const object = await deploy(sandbox, ['all', '--json'])
          sandbox.bucket.delete('bootstrap/clawdinator-2/config.json')
          return { object, manifest: await deploy(sandbox, ['clawdinator-2', '--json']) }
        }),
      guard: () =>
        inSandbox({ running: ['clawdinator-1', 'clawdinator-2'] }, async (sandbox) => {
          const checkout = files.path('unguarded')
          await copyCheckout(checkout)
          const main = join(checkout, STACK)
          const text = await readFile(main, 'utf8')
          await writeFile(main, text.replace('ignore_changes = all', 'ignore_changes = [tags, user_data]'))
          return deploy(sandbox, ['clawdinator-2', '--json'], { CLAWCTL_CHECKOUT: checkout })
        }),
      unmanaged: () =>
        inSandbox({}, async (sandbox) => {
          sandbox.bucket.delete('state/fleet.tfstate')
          return deploy(sandbox, ['clawdinator-1', '--json'])
        }),
    })
  let ran: ReturnType<typeof begin>
  let stackFiles: string[]
  before(async () => {
    stackFiles = await readdir(join(await minimalCheckout(), dirname(STACK)))
    ran = begin()
  })

  it('plans and guards every host with --plan-only, also one that does not exist yet', async () => {
    const { outcome, hosts, launches } = await ran.planOnly
    expect(outcome.code).to.equal(0)
    expect(outcome.json().deploy.status).to.equal('planned')
    expect(outcomes(await ran.planOnly)).to.deep.equal(['clawdinator-2 planned', 'clawdinator-1 planned'])
    expect({ hosts, launches }).to.deep.equal({ hosts: BEFORE, launches: 1 })
  })

  it('replaces only the named host', async () => {
    const { ran: one, state, record } = await ran.one
    expect(one.outcome.code, one.outcome.stdout).to.equal(0)
    const { deploy: document } = one.outcome.json()
    expect(document).to.include({ status: 'succeeded', target: 'clawdinator-2', ami: LATEST_AMI, requestedBy: 'Jo' })
    expect(document.hosts[0]).to.include({ outcome: 'replaced', ami: LATEST_AMI, previousAmi: OLDER_AMI })
    expect(one.hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
    expect(one.launches).to.equal(3)
    expect(state).to.include(document.hosts[0].instanceId)
    expect(JSON.parse(record)).to.include({ requestId: 'request-0001', status: 'succeeded' })
  })

  it('writes the result into the step summary and the outputs', async () => {
    await ran.one
    const summary = await readFile(files.path('summary'), 'utf8')
    expect(summary).to.include('### Fleet deploy of clawdinator-2: succeeded').and.include('by Jo')
    expect(summary).to.match(new RegExp(`\\| clawdinator-2 \\| replaced \\| ${OLDER_AMI} \\| ${LATEST_AMI} \\| i-`))
    expect(summary).to.include('create aws_instance.clawdinator["clawdinator-2/b"]')
    expect(summary).to.include('delete aws_instance.clawdinator["clawdinator-2"]')
    const output = await readFile(files.path('output'), 'utf8')
    expect(output.trimEnd().split('\n')).to.deep.equal(['status=succeeded', `ami=${LATEST_AMI}`])
  })

  it('deploys all, and creates the missing host first', async () => {
    const all = await ran.all
    expect(all.outcome.code).to.equal(0)
    expect(outcomes(all)).to.deep.equal(['clawdinator-2 created', 'clawdinator-1 replaced'])
    expect(all.hosts).to.deep.equal([`clawdinator-1 ${LATEST_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
  })

  it('prints nothing on stderr with --json, and otherwise progress there and the result on stdout', async () => {
    expect((await ran.all).outcome.stderr).to.equal('')
    const { stdout, stderr } = (await ran.ami).older.outcome
    expect(stdout).to.match(/^Deploy of clawdinator-2 with ami-\w+: succeeded\n {2}clawdinator-2: created, /)
    expect(stdout).not.to.match(/tofu|plan|apply/i)
    expect(stderr).to.include('clawdinator-2: plan').and.include('clawdinator-2: wait until healthy')
  })

  it('refuses an --ami that does not exist or is not available', async () => {
    const { none, pending, older } = await ran.ami
    expect(expectFailure(none.outcome, 'AMI_NOT_FOUND', 2).message).to.include('ami-00000000000000000')
    expect(expectFailure(pending.outcome, 'AMI_NOT_FOUND', 2).message).to.include('not available')
    expect([none.hosts, pending.hosts]).to.deep.equal([BEFORE, BEFORE])
    expect(older.outcome.stdout).to.include(`with ${OLDER_AMI}: succeeded`)
    expect(older.hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${OLDER_AMI}`])
  })

  it('fails with AMI_NOT_FOUND if no image is tagged', async () => {
    const { outcome, hosts } = await ran.noImage
    expect(expectFailure(outcome, 'AMI_NOT_FOUND', 2).message).to.include('clawdinator=true')
    expect(hosts).to.deep.equal(BEFORE)
  })

  it('keeps the failed candidate for inspection with --on-failure stop', async () => {
    const stop = await ran.stop
    expect(expectFailure(stop.outcome, 'KEPT', 6).message).to.include('was not changed')
    expect(stop.outcome.json().deploy.status).to.equal('kept')
    expect(outcomes(stop)).to.deep.equal(['clawdinator-1 kept'])
    expect(stop.hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-1 ${LATEST_AMI}`])
  })

  it('fails without waiting if the gateway restarts repeatedly', async () => {
    const { ran: crash, tookMs } = await ran.crash
    expect(expectFailure(crash.outcome, 'KEPT', 6).message).to.match(/its gateway restarted \d+ times/)
    expect(tookMs).to.be.below(100_000)
    expect(crash.hosts).to.deep.equal(BEFORE)
  })

  it('fails with BUNDLE_INCOMPLETE before it plans, and names instance and object', async () => {
    const { object, manifest } = await ran.bundle
    expect(expectFailure(object.outcome, 'BUNDLE_INCOMPLETE', 3).message).to.include('clawdinator-1: secrets/openai')
    expect(outcomes(object)).to.deep.equal([])
    expect(expectFailure(manifest.outcome, 'BUNDLE_INCOMPLETE', 3).message).to.include(
      'bootstrap/clawdinator-2/config.json',
    )
    expect(manifest).to.deep.include({ hosts: BEFORE, launches: 1 })
  })

  it('fails with PLAN_OUT_OF_SCOPE and the addresses if the plan would replace another host', async () => {
    const { outcome, hosts, launches } = await ran.guard
    const error = expectFailure(outcome, 'PLAN_OUT_OF_SCOPE', 3)
    expect(error.message).to.include('replace aws_instance.clawdinator["clawdinator-1"]')
    expect(outcome.json().addresses).to.deep.equal([
      'aws_instance.clawdinator["clawdinator-1"]',
      'aws_instance.clawdinator["clawdinator-2"]',
    ])
    expect(hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${OLDER_AMI}`])
    expect(launches).to.equal(2)
  })

  it('adopts a serving host with all its objects if the state has none of them', async () => {
    const unmanaged = await ran.unmanaged
    expect(unmanaged.outcome.code, unmanaged.outcome.stdout).to.equal(0)
    expect(outcomes(unmanaged)).to.deep.equal(['clawdinator-1 replaced'])
    expect(unmanaged).to.deep.include({ hosts: [`clawdinator-1 ${LATEST_AMI}`], launches: 2 })
  })

  it('does not change the checkout from which the sandbox was started', async () => {
    await Promise.all(Object.values(ran))
    expect(await readdir(join(await minimalCheckout(), dirname(STACK)))).to.deep.equal(stackFiles)
  })
})
