import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { parseArgs } from '../../sandbox/tofu/args.js'
import { parseFile } from '../../sandbox/tofu/hcl.js'
import { guardPlan } from '../../src/lib/domain/deploy/planGuard.js'
import { expected } from '../support/fakes.js'
import { account, BUCKET, checkout, INIT, STACK, STATE_KEY, standIn, varArgs } from './tofuSupport.js'

const ONE = 'clawdinator-1'
const TWO = 'clawdinator-2'
const address = (id: string, type = 'aws_instance') => `${type}.clawdinator["${id}"]`

interface PlanJson {
  format_version: string
  errored: boolean
  resource_changes: {
    address: string
    type: string
    index: string
    change: { actions: string[]; before: unknown; after: Record<string, unknown>; replace_paths?: string[][] }
    action_reason?: string
  }[]
  resource_drift?: { address: string }[]
}

describe('the stand-in tofu: command line', () => {
  const refusal = async (...args: string[]) => (await standIn(STACK, args)).stderr

  it('prints that it is a stand-in', async () => {
    const { stdout } = await standIn(STACK, ['version'])
    expect(stdout).to.equal('OpenTofu v1.12.0 (stand-in of the clawctl sandbox)\n')
  })

  it('parses options like the real OpenTofu', () => {
    const { command, chdir, lockTimeoutMs, positional, vars, list, flag } = parseArgs([
      '-chdir=x',
      'plan',
      '--input=false',
      '-lock-timeout',
      '1m30s',
      '-var',
      'a=b=c',
      '-replace=r.n["k"]',
      '-detailed-exitcode',
    ])
    expect({ command, chdir, lockTimeoutMs, positional, vars }).to.deep.equal({
      command: 'plan',
      chdir: 'x',
      lockTimeoutMs: 90_000,
      positional: [],
      vars: [{ flag: 'var', value: 'a=b=c' }],
    })
    expect([list('replace'), flag('input', true), flag('detailed-exitcode', false)]).to.deep.equal([
      ['r.n["k"]'],
      false,
      true,
    ])
  })

  it('refuses unknown arguments with the real text', async () => {
    const unknown = await refusal('plan', '-lock-timeoot=3s')
    expect(unknown).to.match(
      /Error: Failed to parse command-line options\n\nflag provided but not defined: -lock-timeoot/,
    )
    expect(await refusal('plan', '-lock-timeout=3')).to.include('invalid value "3" for flag -lock-timeout')
    expect(await refusal('plan', 'extra')).to.include('Too many command line arguments')
    expect(await refusal('show', '-input=false')).to.include('flag provided but not defined: -input')
    expect(await refusal('force-unlock', '-force')).to.include('Expected a single argument: LOCK_ID')
  })

  it('refuses options that it does not implement', async () => {
    expect(await refusal('plan', '-json')).to.include('does not model -json')
    expect(await refusal('plan', '-target=aws_instance.clawdinator')).to.include('does not model -target')
    expect(await refusal('apply', '-auto-approve')).to.include('applies saved plans only')
  })

  for (const [what, text, refused] of [
    ['a resource type', 'resource "aws_eip" "x" {}', 'does not model resource "aws_eip"'],
    ['a data source', 'data "aws_ami" "x" {}', 'does not model data "aws_ami"'],
    ['a block', 'module "x" {\n  source = "./x"\n}', 'does not model "module" blocks'],
    [
      'a function',
      'locals {\n  x = sha256("a")\n}\noutput "x" {\n  value = local.x\n}',
      'evaluate the function sha256',
    ],
    [
      'an argument',
      'resource "aws_iam_role" "x" {\n  assume_role_policy = "{}"\n  inline = 1\n}',
      'An argument named "inline"',
    ],
    ['a splat', 'output "x" {\n  value = aws_instance.clawdinator.*.id\n}', 'does not evaluate splat expressions'],
    ['a meta-argument', 'resource "aws_iam_role" "x" {\n  count = 1\n}', 'does not model "count"'],
  ] as const) {
    it(`refuses ${what}, which it does not model, by its name`, async () => {
      const aws = await account()
      const other = checkout([ONE])
      try {
        writeFileSync(join(other.dir, 'more.tf'), `${text}\n`)
        await standIn(other.dir, INIT)
        const { exitCode, stderr } = await standIn(other.dir, [
          'plan',
          `-out=${join(other.root, 'plan')}`,
          ...varArgs(aws.ami),
        ])
        const applied = exitCode === 0 ? await standIn(other.dir, ['apply', join(other.root, 'plan')]) : null
        expect(`${stderr}${applied?.stderr ?? ''}`).to.include(refused)
      } finally {
        other.remove()
        await aws.close()
      }
    })
  }

  for (const [why, text, line] of [
    ['text that is not a block', 'locals {\n}\n\nthis is not hcl {{{\n', 4],
    ['an unclosed block', '# first\nresource "aws_x" "y" {\n  a = 1\n', 2],
    ['an additional brace', 'locals {\n}\n}\n', 3],
    ['two arguments on a line', 'locals {\n  a = 1 b = 2\n}\n', 2],
  ] as const) {
    it(`refuses ${why}, with the line`, () => {
      expect(() => parseFile(text, 'x.tf'))
        .to.throw()
        .with.property('detail', `on x.tf line ${line}`)
    })
  }
})

describe('the stand-in tofu: plan and apply', () => {
  let aws: Awaited<ReturnType<typeof account>>
  let stack: ReturnType<typeof checkout>
  const tofu = (...args: string[]) => standIn(stack.dir, args)
  const planFile = () => join(stack.root, 'plan')

  /** Plans into the file and returns the plan's JSON. */
  async function plan(ami: string, ids?: readonly string[], ...more: string[]): Promise<PlanJson> {
    const planned = await tofu('plan', `-out=${planFile()}`, ...varArgs(ami, ids), ...more)
    expect(planned.stderr).to.equal('')
    return JSON.parse((await tofu('show', '-json', planFile())).stdout) as PlanJson
  }

  async function apply(): Promise<string> {
    const { stdout, stderr } = await tofu('apply', planFile())
    expect(stderr).to.equal('')
    return stdout
  }

  async function deploy(ami: string, ids?: readonly string[], ...more: string[]): Promise<string> {
    await plan(ami, ids, ...more)
    return apply()
  }

  const actions = (json: PlanJson, type = 'aws_instance') =>
    Object.fromEntries(
      json.resource_changes.filter((c) => c.type === type).map((c) => [c.index, c.change.actions.join()]),
    )
  const objects = () => aws.world.bucket(BUCKET)

  beforeEach(async () => {
    aws = await account()
    stack = checkout([ONE, TWO])
    expect((await tofu(...INIT)).stdout).to.include('stand-in of the clawctl sandbox')
  })
  afterEach(async () => {
    stack.remove()
    await aws.close()
  })

  it('requires init, and declared and complete variables', async () => {
    const fresh = checkout([ONE])
    try {
      const planned = await standIn(fresh.dir, ['plan', ...varArgs(aws.ami)])
      expect(planned.stderr).to.include('Error: Backend initialization required, please run "tofu init"')
    } finally {
      fresh.remove()
    }
    const undeclared = await tofu('plan', ...varArgs(aws.ami), '-var=amy_id=x')
    expect(undeclared.stderr).to.include('Error: Value for undeclared variable\n\nA variable named "amy_id"')
    expect((await tofu('plan', '-var=bucket=b')).stderr).to.include('Error: No value for required variable')
    expect((await tofu('plan', ...varArgs('ami-1'))).stderr).to.include('Error: Invalid value for variable')
    expect((await tofu('show', '-json')).stdout).to.equal('{"format_version":"1.0"}\n')
  })

  it("creates the registry's instances, with tags and user data", async () => {
    const json = await plan(aws.ami)
    expect(json).to.include({ format_version: '1.2', errored: false })
    expect(actions(json)).to.deep.equal({ [ONE]: 'create', [TWO]: 'create' })
    expect(actions(json, 'aws_iam_role')).to.deep.equal({ [ONE]: 'create', [TWO]: 'create' })

    expect(await apply()).to.include('Apply complete! Resources: 9 added, 0 changed, 0 destroyed.')
    const [first] = [...aws.world.instances.values()]
    expect(Object.fromEntries(first?.tags ?? [])).to.deep.equal({
      app: 'clawdinator',
      Name: ONE,
      'clawdinator:id': ONE,
      'clawdinator:slot': 'a',
      'clawdinator:request-id': '',
      'clawdinator:bootstrap-prefix': `bootstrap/${ONE}`,
    })
    expect(first).to.deep.include({
      profile: ONE,
      metadata: { endpoint: 'enabled', tokens: 'required', hops: 1 },
      rootVolume: { encrypted: true, type: 'gp3', size: 64, deleteOnTermination: true },
    })
    expect([...aws.world.securityGroups.values()].map(({ id }) => id)).to.deep.equal(first?.securityGroups)
    const role = aws.world.iam.getRole(ONE)
    expect(role).to.include({ path: '/clawdinator/', arn: `arn:aws:iam::000000000000:role/clawdinator/${ONE}` })
    expect([...(role?.policies.keys() ?? [])]).to.deep.equal(['own-bundle-and-heartbeat'])
    expect(aws.world.iam.getProfile(ONE)?.role).to.equal(ONE)
    expect(Buffer.from(first?.userData ?? '', 'base64').toString()).to.include(`write_value instance-name '${ONE}'`)
    expect((await tofu('state', 'list')).stdout.trim().split('\n')).to.have.members([
      'aws_security_group.clawdinator',
      ...[ONE, TWO].flatMap((id) => [
        address(id),
        ...['aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile'].map((type) => address(id, type)),
      ]),
    ])
    const outputs = JSON.parse((await tofu('output', '-json')).stdout) as Record<string, { value: object }>
    expect(outputs.instances?.value).to.have.keys(ONE, TWO)
    expect([...objects().keys()]).to.deep.equal([STATE_KEY])
  })

  it('replaces only the named host, and a later plain plan changes nothing', async () => {
    await deploy(aws.ami)
    const json = await plan(aws.nextAmi, undefined, `-replace=${address(TWO)}`)
    expect(actions(json)).to.deep.equal({ [ONE]: 'no-op', [TWO]: 'delete,create' })
    const replaced = json.resource_changes.find((c) => c.address === address(TWO))
    expect(replaced?.action_reason).to.equal('replace_by_request')
    expect(replaced?.change.after.ami).to.equal(aws.nextAmi)
    expect(guardPlan(json, expected({ kind: 'replace', id: TWO, slot: 'a' })).lines).to.deep.equal([
      `replace ${address(TWO)}`,
    ])

    const said = await apply()
    expect(said).to.match(/\["clawdinator-2"\]: Destroying\.\.\. \[id=i-[\s\S]*\["clawdinator-2"\]: Creating\.\.\./)
    expect(said).to.include('Apply complete! Resources: 1 added, 0 changed, 1 destroyed.')
    expect(aws.running()).to.deep.equal({ [ONE]: aws.ami, [TWO]: aws.nextAmi })

    const later = await tofu('plan', '-detailed-exitcode', ...varArgs(aws.ami))
    expect(later).to.include({ exitCode: 0 })
    expect(later.stdout).to.include('No changes.')
  })

  it('corrects a changed role beside other policies in IAM, and the guard allows it', async () => {
    await deploy(aws.ami)
    aws.world.iam.getRole(TWO)?.tags.set('Name', 'by hand')
    const json = await plan(aws.nextAmi, undefined, `-replace=${address(TWO)}`)
    const { after } = json.resource_changes.find((c) => c.address === address(TWO, 'aws_iam_role'))?.change ?? {}
    expect(after?.inline_policy).to.have.nested.property('[0].name', 'own-bundle-and-heartbeat')
    expect(guardPlan(json, expected({ kind: 'replace', id: TWO, slot: 'a' })).lines).to.deep.equal([
      `update ${address(TWO, 'aws_iam_role')}`,
      `replace ${address(TWO)}`,
    ])
    await apply()
    expect([...(aws.world.iam.getRole(TWO)?.tags.keys() ?? [])]).to.not.include('Name')
  })

  it('replaces every host with another AMI without ignore_changes, like the real OpenTofu', async () => {
    await deploy(aws.ami)
    const naive = checkout([ONE, TWO], (_, text) => text.replace('ignore_changes = all', ''))
    try {
      await standIn(naive.dir, INIT)
      const args = ['plan', `-out=${planFile()}`, `-replace=${address(TWO)}`, '-detailed-exitcode']
      const planned = await standIn(naive.dir, [...args, ...varArgs(aws.nextAmi)])
      expect(planned.exitCode).to.equal(2)
      expect(planned.stdout).to.include('# forces replacement')
      const json = JSON.parse((await tofu('show', '-json', planFile())).stdout) as PlanJson
      expect(actions(json)).to.deep.equal({ [ONE]: 'delete,create', [TWO]: 'delete,create' })
      expect(json.resource_changes.find((c) => c.address === address(ONE))?.change.replace_paths).to.deep.equal([
        ['ami'],
      ])
      expect(() => guardPlan(json, expected({ kind: 'replace', id: TWO, slot: 'a' }))).to.throw(address(ONE))
    } finally {
      naive.remove()
    }
  })

  it('manages exactly instance_ids: others are not created, and one that left the registry stays', async () => {
    await deploy(aws.ami, [ONE])
    expect(aws.running()).to.deep.equal({ [ONE]: aws.ami })
    stack.register([TWO])
    expect(actions(await plan(aws.ami, [ONE, TWO]))).to.deep.equal({ [ONE]: 'no-op', [TWO]: 'create' })
    const dropped = await plan(aws.ami, [TWO])
    const removed = dropped.resource_changes.find((c) => c.address === address(ONE))
    expect(removed).to.include({ action_reason: 'delete_because_each_key' })
    expect(removed?.change).to.deep.include({ actions: ['delete'], after: null })
    await apply()
    expect(aws.running()).to.deep.equal({ [TWO]: aws.ami })
  })

  it('answers a replacement of an unknown key with "No changes" and exit code 0', async () => {
    await deploy(aws.ami)
    const json = await plan(aws.ami, undefined, `-replace=${address('clawdinator-9')}`)
    expect(actions(json)).to.deep.equal({ [ONE]: 'no-op', [TWO]: 'no-op' })
    expect((await tofu('plan', '-replace=nonsense', ...varArgs(aws.ami))).stderr).to.include('Invalid force-replace')
  })

  it('creates an instance again that no longer exists in EC2', async () => {
    await deploy(aws.ami)
    const lost = [...aws.world.instances.values()].find((i) => i.tags.get('clawdinator:id') === ONE)
    if (lost) lost.state = 'terminated'
    const json = await plan(aws.nextAmi, undefined, `-replace=${address(ONE)}`)
    expect(actions(json)).to.deep.equal({ [ONE]: 'create', [TWO]: 'no-op' })
    // The roles were read before they had their policy.
    const roles = [ONE, TWO].map((id) => address(id, 'aws_iam_role'))
    expect(json.resource_drift?.map((c) => c.address)).to.deep.equal([...roles, address(ONE)])
    await apply()
    expect(aws.running()).to.deep.equal({ [ONE]: aws.nextAmi, [TWO]: aws.ami })
  })

  it('refuses a stale plan', async () => {
    await plan(aws.ami, [ONE])
    await tofu('plan', `-out=${join(stack.root, 'other')}`, ...varArgs(aws.ami, [TWO]))
    await apply()
    const stale = await tofu('apply', join(stack.root, 'other'))
    expect(stale).to.include({ exitCode: 1 })
    expect(stale.stderr).to.include('Error: Saved plan')
    expect((await tofu('apply', planFile())).stderr).to.include('Error: Saved plan is stale')
  })

  it('waits for the lock, then names its holder; force-unlock releases it', async () => {
    const held = { ID: 'lock-1', Path: 'p', Operation: 'OperationTypeApply', Who: 'me@there', Version: '1.12.0' }
    const body = JSON.stringify({ ...held, Created: '2026-11-22T10:00:00.000Z', Info: '' })
    aws.world.putObject(BUCKET, `${STATE_KEY}.tflock`, body)
    const refused = await tofu('plan', ...varArgs(aws.ami))
    expect(refused.stderr).to.match(/Error: Error acquiring the state lock\n/)
    expect(refused.stderr).to.include('\n  ID:        lock-1\n')
    expect(refused.stderr).to.include('\n  Created:   2026-11-22 10:00:00.000 +0000 UTC\n')

    const waiting = tofu('plan', '-lock-timeout=5s', ...varArgs(aws.ami))
    expect((await tofu('force-unlock', '-force', 'other')).stderr).to.include('does not match existing lock')
    expect((await tofu('force-unlock', '-force', 'lock-1')).exitCode).to.equal(0)
    const planned = await waiting
    expect(planned.exitCode).to.equal(0)
    expect(planned.stdout).to.include('Acquiring state lock.')
    expect([...objects().keys()]).to.deep.equal([])
  })

  it('leaves an instance tainted if it is interrupted during its creation, with state and lock in order', async () => {
    await plan(aws.ami, [ONE])
    const stop = new AbortController()
    aws.world.onLaunch(() => stop.abort())
    const stopped = await standIn(stack.dir, ['apply', planFile()], stop.signal)
    expect(stopped).to.include({ exitCode: 1 })
    expect(stopped.stderr).to.match(/create: context canceled/)
    expect([...objects().keys()]).to.deep.equal([STATE_KEY])

    // A tainted resource is in every later plan, also with ignore_changes.
    const again = await plan(aws.ami, [ONE])
    expect(actions(again)).to.deep.equal({ [ONE]: 'delete,create' })
    expect(again.resource_changes.find((c) => c.address === address(ONE))?.action_reason).to.equal(
      'replace_because_tainted',
    )
    expect((await tofu('untaint', address(ONE))).stdout).to.include('has been successfully untainted')
    expect((await tofu('untaint', address(ONE))).stderr).to.include('Resource instance is not tainted')
    expect(actions(await plan(aws.ami, [ONE]))).to.deep.equal({ [ONE]: 'no-op' })
    expect(aws.world.instances.size).to.equal(1)
  })

  it('stores what was done if EC2 refuses the next step', async () => {
    await plan(`ami-${'0'.repeat(17)}`)
    const failed = await tofu('apply', planFile())
    expect(failed.stderr).to.match(/Error: creating EC2 Instance: operation error EC2: api error InvalidAMIID.NotFound/)
    expect((await tofu('state', 'list')).stdout).to.include(address(ONE, 'aws_iam_role'))
    expect(await deploy(aws.ami)).to.include('Resources: 2 added')
  })
})
