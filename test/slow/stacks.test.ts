import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EC2Client, RegisterImageCommand } from '@aws-sdk/client-ec2'
import { expect } from 'chai'
import { execa } from 'execa'
import { ROOT } from '../support/plane.js'

/**
 * Both stacks with the real OpenTofu and the real provider against moto. Needs MOTO_URL (a host name whose subdomains
 * all resolve, such as http://localhost:5000), CLAWCTL_TF_MIRROR (a filesystem mirror with the provider), and tofu in
 * PATH or TOFU.
 */
const { MOTO_URL, CLAWCTL_TF_MIRROR, TOFU = 'tofu' } = process.env
const missing = [
  ...(MOTO_URL ? [] : ['MOTO_URL']),
  ...(CLAWCTL_TF_MIRROR ? [] : ['CLAWCTL_TF_MIRROR']),
  ...(spawnSync(TOFU, ['version']).error ? ['tofu'] : []),
]
const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' }
/** The resources during whose creation the first apply is killed: from the first to nearly the last of some sixty. */
const MOMENTS = [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
const INTERRUPTS = [3, 22, 40]

describe(`the stacks against moto${missing.length > 0 ? ` (skipped without ${missing.join(', ')})` : ''}`, function () {
  this.timeout(600_000)
  let folder: string
  let env: NodeJS.ProcessEnv
  before(function () {
    if (missing.length > 0) return this.skip()
    folder = mkdtempSync(join(tmpdir(), 'clawctl-stacks-'))
    const config = join(folder, 'tofurc')
    writeFileSync(config, `provider_installation {\n  filesystem_mirror {\n    path = "${CLAWCTL_TF_MIRROR}"\n  }\n}\n`)
    env = {
      ...process.env,
      ...{ AWS_ENDPOINT_URL: MOTO_URL, AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId, AWS_SECRET_ACCESS_KEY: 'test' },
      ...{ AWS_REGION: 'eu-central-1', TF_CLI_CONFIG_FILE: config, CHECKPOINT_DISABLE: '1', TOFU },
    }
  })
  after(() => folder && rmSync(folder, { recursive: true, force: true }))

  /** Unchanged copies of the stacks in a new folder, and an empty account. */
  async function fresh(): Promise<string> {
    await fetch(`${MOTO_URL}/moto-api/reset`, { method: 'POST' })
    const copy = mkdtempSync(join(folder, 'checkout-'))
    const withoutProvider = { recursive: true, filter: (path: string) => !path.includes('.terraform/') }
    for (const part of ['infra', 'nix']) cpSync(join(ROOT, part), join(copy, part), withoutProvider)
    return copy
  }

  describe('platform', () => {
    const platform = (copy: string) => {
      const child = spawn(
        'bash',
        [join(ROOT, 'scripts/platform.sh'), 'apply', '-auto-approve', '-no-color', '-input=false'],
        {
          // A separate process group: a kill reaches OpenTofu and the provider, like the end of a terminal or a runner.
          ...{ detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
          env: {
            ...env,
            ...{ PLATFORM_STACK: join(copy, 'infra/opentofu/aws/platform'), TF_VAR_bucket: 'claw-fleet' },
            ...{ TF_VAR_region: 'eu-central-1', TF_VAR_github_repository_id: '42', TF_VAR_github_owner_id: '7' },
            ...{
              TF_VAR_alarm_subscribers: '["ops@example.com"]',
              TF_VAR_control_api_zip: join(ROOT, 'dist/lambda.zip'),
            },
          },
        },
      )
      let said = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk))
      const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
      return { child, ended, said: () => said }
    }
    const apply = async (copy: string) => {
      const { ended, said } = platform(copy)
      return { code: await ended, said: said() }
    }
    const endsClean = async (copy: string) => {
      const again = await apply(copy)
      expect(again.code, again.said).to.equal(0)
      const last = await apply(copy)
      expect(last.said).to.include('0 added, 0 changed, 0 destroyed')
      for (const left of ['first_apply_override.tf', 'first-apply.tfstate'])
        expect(existsSync(join(copy, 'infra/opentofu/aws/platform', left)), left).to.equal(false)
    }
    /** Sends the signal when this many resources are being created. */
    const killed = async (copy: string, signal: NodeJS.Signals, creating: number) => {
      const { child, ended, said } = platform(copy)
      let sent = false
      const look = () => {
        if (sent || (said().match(/: Creating\.\.\./g) ?? []).length < creating) return
        sent = true
        process.kill(-(child.pid as number), signal)
      }
      for (const stream of [child.stdout, child.stderr]) stream.on('data', look)
      await ended
      expect(sent, said()).to.equal(true)
    }

    it('changes nothing at the second apply', async () => endsClean(await fresh()))
    for (const moment of MOMENTS) {
      it(`resumes after SIGKILL while resource ${moment} was being created`, async () => {
        const copy = await fresh()
        await killed(copy, 'SIGKILL', moment)
        await endsClean(copy)
      })
    }
    for (const moment of INTERRUPTS) {
      it(`resumes after Ctrl-C while resource ${moment} was being created`, async () => {
        const copy = await fresh()
        await killed(copy, 'SIGINT', moment)
        await endsClean(copy)
      })
    }
  })

  describe('fleet', () => {
    let dir: string
    const images: string[] = []
    before(async () => {
      dir = join(await fresh(), 'infra/opentofu/aws/fleet')
      // This test does not cover the state.
      writeFileSync(
        join(dir, 'state_override.tf'),
        'terraform {\n  backend "local" {\n    path = "fleet.tfstate"\n  }\n}\n',
      )
      await tofu('init', '-input=false')
      // The provider asks for an image's root device.
      const ec2 = new EC2Client({ region: 'eu-central-1', endpoint: MOTO_URL ?? '', credentials: CREDENTIALS })
      for (const Name of ['first', 'second', 'third']) {
        const image = { Name, RootDeviceName: '/dev/xvda', VirtualizationType: 'hvm', Architecture: 'x86_64' as const }
        images.push((await ec2.send(new RegisterImageCommand(image))).ImageId ?? '')
      }
    })
    const tofu = (...args: string[]) => execa(TOFU, [`-chdir=${dir}`, ...args], { env })
    const VARS = { bucket: 'claw-fleet', region: 'eu-central-1', control_api_url: 'https://example.com' }
    type Change = { address: string; change: { actions: string[]; importing?: { id: string } } }

    /** Plans with these variables, applies the plan, and returns its changes. */
    const planAndApply = async (more: Record<string, unknown>): Promise<Record<string, string>> => {
      const vars = Object.entries({ ...VARS, ami_id: images[0] ?? '', ...more }).map(
        ([name, value]) => `-var=${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      )
      await tofu('plan', '-input=false', '-out=tried.tfplan', ...vars)
      const { stdout } = await tofu('show', '-json', 'tried.tfplan')
      const { resource_changes: changes } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
        resource_changes: Change[]
      }
      await tofu('apply', '-input=false', 'tried.tfplan')
      return Object.fromEntries(
        changes
          .filter(({ change }) => change.importing || change.actions[0] !== 'no-op')
          .map(({ address, change }) => [address, change.importing ? 'import' : change.actions.join()]),
      )
    }
    const instance = (key: string) => `aws_instance.clawdinator["${key}"]`

    it('creates slot a of every id on an empty state, and then changes nothing', async () => {
      const made = await planAndApply({})
      expect(made).to.include({ [instance('clawdinator-1')]: 'create', [instance('clawdinator-2')]: 'create' })
      expect(await planAndApply({ ami_id: images[1] })).to.deep.equal({})
    })

    it('creates exactly an added slot, and destroys exactly a removed one', async () => {
      const steps: [slots: string[], expected: Record<string, string>][] = [
        [['a', 'b'], { [instance('clawdinator-1/b')]: 'create' }],
        [['b'], { [instance('clawdinator-1')]: 'delete' }],
        [['a', 'b'], { [instance('clawdinator-1')]: 'create' }],
        [['a'], { [instance('clawdinator-1/b')]: 'delete' }],
      ]
      for (const [slots, expected] of steps) {
        const ami = expected[instance('clawdinator-1/b')] ? images[1] : images[2]
        expect(await planAndApply({ slots: { 'clawdinator-1': slots }, ami_id: ami })).to.deep.equal(expected)
      }
    })

    it('adopts objects outside of the state, and creates the other slot in the same plan', async () => {
      const state = JSON.parse(readFileSync(join(dir, 'fleet.tfstate'), 'utf8'))
      const idOf = (type: string, key?: string) =>
        state.resources
          .find((one: { type: string }) => one.type === type)
          .instances.find((one: { index_key?: string }) => one.index_key === key).attributes.id as string
      const lost = ['instance', 'iam_role', 'iam_role_policy', 'iam_instance_profile']
      await tofu(
        'state',
        'rm',
        ...lost.map((type) => `aws_${type}.clawdinator["clawdinator-2"]`),
        'aws_security_group.clawdinator',
      )
      const names = { 'clawdinator-2': 'clawdinator-2' }
      const adopt = {
        ...{ instances: { 'clawdinator-2': idOf('aws_instance', 'clawdinator-2') }, roles: names, profiles: names },
        role_policies: { 'clawdinator-2': 'clawdinator-2:own-bundle-and-heartbeat' },
        security_group: idOf('aws_security_group'),
      }
      const slots = { 'clawdinator-2': ['a', 'b'] }
      expect(await planAndApply({ adopt, slots })).to.deep.equal({
        ...Object.fromEntries(lost.map((type) => [`aws_${type}.clawdinator["clawdinator-2"]`, 'import'])),
        'aws_security_group.clawdinator': 'import',
        [instance('clawdinator-2/b')]: 'create',
      })
      // A second import of the same address finds it in the state.
      expect(await planAndApply({ adopt, slots })).to.deep.equal({})
    })
  })
})
