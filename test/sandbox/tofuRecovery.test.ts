import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { account, BUCKET, checkout, INIT, ROOT, STATE_KEY, standIn, varArgs } from './tofuSupport.js'

const ONE = 'clawdinator-1'
const TWO = 'clawdinator-2'
const instance = (key: string) => `aws_instance.clawdinator["${key}"]`

interface Planned {
  resource_changes: { address: string; change: { actions: string[]; importing?: { id: string } } }[]
}

describe('the stand-in tofu: after kills, cancellations and failed writes', () => {
  let aws: Awaited<ReturnType<typeof account>>
  let stack: ReturnType<typeof checkout>
  const tofu = (...args: string[]) => standIn(stack.dir, args)
  const planFile = () => join(stack.root, 'plan')
  const stateText = () => aws.world.getObject(BUCKET, STATE_KEY)?.body.toString() ?? ''

  /**
   * Plans into the file. Returns address → actions, preceded by `import` for an adoption; unchanged resources are left
   * out.
   */
  async function plan(ids: readonly string[], ...more: string[]): Promise<Record<string, string>> {
    const planned = await tofu('plan', `-out=${planFile()}`, ...varArgs(aws.ami, ids), ...more)
    expect(planned.stderr).to.equal('')
    const { resource_changes } = JSON.parse((await tofu('show', '-json', planFile())).stdout) as Planned
    return Object.fromEntries(
      resource_changes.flatMap(({ address, change }) => {
        const words = [...(change.importing ? ['import'] : []), ...change.actions]
        return words.join() === 'no-op' ? [] : [[address, words.join()]]
      }),
    )
  }

  beforeEach(async () => {
    aws = await account()
    stack = checkout([ONE, TWO])
    await tofu(...INIT)
  })
  afterEach(async () => {
    stack.remove()
    await aws.close()
  })

  /** The stand-in as a process, killed with the first instance. */
  async function killed(): Promise<void> {
    const program = join(ROOT, 'dist/sandbox/tofu.js')
    let child: ChildProcess | null = null
    aws.world.onLaunch(() => child?.kill('SIGKILL'))
    const env = { ...process.env, CLAWCTL_TOFU_SPEED: '1000', NODE_OPTIONS: '' }
    child = spawn(process.execPath, [program, `-chdir=${stack.dir}`, 'apply', planFile()], { env, stdio: 'ignore' })
    const signal = await new Promise((resolve) => child?.once('exit', (_, by) => resolve(by)))
    expect(signal).to.equal('SIGKILL')
  }

  it('leaves resources outside of the state, and the lock, after a kill during a creation', async () => {
    await plan([ONE])
    await killed()
    const [left] = [...aws.world.instances.values()]
    expect(left?.tags.get('clawdinator:id')).to.equal(ONE)
    expect([...aws.world.iam.roles.keys(), ...aws.world.iam.profiles.keys()]).to.deep.equal([ONE, ONE])
    expect(stateText()).not.to.include(left?.id)
    const lock = JSON.parse(aws.world.getObject(BUCKET, `${STATE_KEY}.tflock`)?.body.toString() ?? '{}')
    expect(lock).to.include({ Operation: 'OperationTypeApply' })

    // Without an adoption, every later run fails because the objects exist already.
    await tofu('force-unlock', '-force', lock.ID)
    const [group] = [...aws.world.securityGroups.keys()]
    aws.world.securityGroups.delete(group ?? '')
    await plan([ONE])
    const again = await tofu('apply', planFile())
    expect(again.stderr).to.match(/IAM: api error EntityAlreadyExists: Role with name clawdinator-1 already exists/)

    // An adoption changes nothing, and the next plan has no changes.
    const adopt = {
      instances: { [ONE]: left?.id },
      roles: { [ONE]: ONE },
      profiles: { [ONE]: ONE },
      role_policies: { [ONE]: `${ONE}:own-bundle-and-heartbeat` },
    }
    const adopted = await plan([ONE], `-var=adopt=${JSON.stringify(adopt)}`)
    expect(Object.values(adopted)).to.deep.equal(Array(4).fill('import,no-op'))
    const { stdout } = await tofu('apply', planFile())
    expect(stdout).to.include('Resources: 4 imported, 0 added, 0 changed, 0 destroyed.')
    expect(await plan([ONE])).to.deep.equal({})
    expect((await tofu('state', 'list')).stdout).to.include(instance(ONE))
  })

  it('imports an instance and creates the other slot in one plan, and refuses a missing object', async () => {
    await plan([ONE])
    await tofu('apply', planFile())
    const { id = '' } = [...aws.world.instances.values()][0] ?? {}
    expect(await plan([ONE], `-var=slots={"${ONE}":["a","b"]}`)).to.deep.equal({ [instance(`${ONE}/b`)]: 'create' })
    expect(await plan([ONE], `-var=slots={"${ONE}":["b"]}`)).to.deep.equal({
      [instance(ONE)]: 'delete',
      [instance(`${ONE}/b`)]: 'create',
    })
    const refusal = async (...more: string[]) => (await tofu('plan', ...varArgs(aws.ami, [ONE]), ...more)).stderr
    const none = { instances: {}, roles: {}, profiles: {}, role_policies: {} }
    const adopting = (part: object) => `-var=adopt=${JSON.stringify({ ...none, ...part })}`
    const both = `-var=slots={"${ONE}":["a","b"]}`
    expect(await refusal(both, adopting({ instances: { [`${ONE}/b`]: 'i-0123456789abcdef0' } }))).to.include(
      'Error: Cannot import non-existent remote object',
    )
    expect(await refusal(adopting({ instances: { [`${ONE}/b`]: id } }))).to.include(
      'Error: Configuration for import target does not exist',
    )
    // The state may have EC2's id under another address: only a comparison detects that.
    expect(await plan([ONE], both, adopting({ instances: { [`${ONE}/b`]: id } }))).to.deep.equal({
      [instance(`${ONE}/b`)]: 'import,no-op',
    })
    // An address that is already in the state is ignored without a message.
    expect(await plan([ONE], adopting({ instances: { [ONE]: 'i-0123456789abcdef0' } }))).to.deep.equal({})
  })

  it('stores a state that S3 refuses in errored.tfstate, which state push uploads', async () => {
    await plan([ONE])
    let repair = () => {}
    const stop = aws.world.onLaunch(() => {
      stop()
      repair = aws.faults.add(parseFault('s3:error=always'))
    })
    const failed = await tofu('apply', planFile())
    repair()
    expect(failed.exitCode).to.equal(1)
    expect(failed.stderr).to.include('Error: Failed to persist state to backend').and.to.include('errored.tfstate')
    const file = join(stack.dir, 'errored.tfstate')
    expect(existsSync(file)).to.equal(true)
    const { serial, lineage } = JSON.parse(readFileSync(file, 'utf8')) as { serial: number; lineage: string }
    expect(stateText()).not.to.include('aws_instance')

    const held = JSON.parse(aws.world.getObject(BUCKET, `${STATE_KEY}.tflock`)?.body.toString() ?? '{}')
    expect((await tofu('state', 'push', 'errored.tfstate')).stderr).to.include(`ID:        ${held.ID}`)
    await tofu('force-unlock', '-force', held.ID)
    expect(await tofu('state', 'push', 'errored.tfstate')).to.include({ exitCode: 0 })
    expect(JSON.parse((await tofu('state', 'pull')).stdout)).to.include({ serial, lineage })
    expect(await plan([ONE])).to.deep.equal({})

    await plan([ONE, TWO])
    await tofu('apply', planFile())
    expect((await tofu('state', 'push', 'errored.tfstate')).stderr).to.include(`serial ${serial} over newer state`)
  })

  it('writes the state every 20 seconds of its clock, and at the end', async () => {
    const writes: string[] = []
    const put = aws.world.putObject.bind(aws.world)
    aws.world.putObject = (bucket, key, body, options) => {
      if (key === STATE_KEY)
        writes.push(String(JSON.parse(String(body instanceof Object && 'bytes' in body ? body.bytes() : body)).serial))
      return put(bucket, key, body, options)
    }
    await plan([ONE])
    await tofu('apply', planFile())
    expect(writes).to.deep.equal(['1'])

    // A role, a policy and a profile take a second each.
    const many = Array.from({ length: 8 }, (_, n) => `host-${n}`)
    stack.register([ONE, ...many])
    await plan([ONE, ...many])
    await tofu('apply', planFile())
    expect(writes).to.deep.equal(['1', '2', '3'])
  })

  it('requires another init if the backend block has changed', async () => {
    writeFileSync(join(stack.dir, 'backend.tf'), 'terraform {\n  backend "s3" {\n    encrypt = true\n  }\n}\n')
    const { stderr } = await tofu('untaint', instance(ONE))
    expect(stderr).to.include('Reason: Backend configuration block has changed')
    await tofu(...INIT)
    expect((await tofu('untaint', instance(ONE))).stderr).to.include('No such resource instance')
  })
})
