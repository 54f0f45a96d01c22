import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { otherServicesEndpoint } from '../../sandbox/aws/other.js'
import { s3Endpoint } from '../../sandbox/aws/s3.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { planChanges } from '../../sandbox/tofu/plan.js'
import { runTofu } from '../../sandbox/tofu/run.js'
import { readStack } from '../../sandbox/tofu/stack.js'
import { State } from '../../sandbox/tofu/state.js'
import { readVariables } from '../../sandbox/tofu/variables.js'

export const ROOT = resolve(import.meta.dirname, '../..')
export const STACK = join(ROOT, 'infra/opentofu/aws/fleet')
export const BUCKET = 'fleet-bucket'
export const STATE_KEY = 'state/fleet.tfstate'
const KEY_ID = 'AKIATOFUTESTS0000000'

export const BACKEND = { bucket: BUCKET, key: STATE_KEY, region: 'eu-central-1' }
export const VARS = { bucket: BUCKET, region: 'eu-central-1', control_api_url: 'https://api.example/' }

/** A checkout with a registry and a copy of the stack, whose text a test may change. */
export function checkout(ids: readonly string[], change: (file: string, text: string) => string = (_, text) => text) {
  const root = mkdtempSync(join(tmpdir(), 'clawctl-tofu-'))
  const dir = join(root, 'infra/opentofu/aws/fleet')
  cpSync(STACK, dir, { recursive: true, filter: (path) => !path.includes('.terraform') })
  const main = join(dir, 'main.tf')
  writeFileSync(main, change('main.tf', readFileSync(main, 'utf8')))
  const register = (registered: readonly string[]) => {
    mkdirSync(join(root, 'nix'), { recursive: true })
    const entries = registered.map((id) => [
      id,
      { host: id, instanceType: 't3.large', bootstrapPrefix: `bootstrap/${id}` },
    ])
    writeFileSync(join(root, 'nix/instances.json'), JSON.stringify(Object.fromEntries(entries)))
  }
  register(ids)
  return { root, dir, register, remove: () => rmSync(root, { recursive: true, force: true }) }
}

/** EC2 and S3 of a small account on loopback, with the SDK's variables set until `close`. Hosts boot in no time. */
export async function account() {
  const world = new World()
  world.createBucket(BUCKET)
  const ami = world.addImage({ name: 'first' }).id
  const nextAmi = world.addImage({ name: 'second' }).id
  world.onLaunch((instance) => setImmediate(() => (instance.state = 'running')))
  world.onTerminate((instance) => setImmediate(() => (instance.state = 'terminated')))
  const faults = new Faults()
  const ec2 = await ec2Endpoint(world, { faults, accessKeyId: KEY_ID })
  const s3 = await s3Endpoint(world, { faults, accessKeyId: KEY_ID })
  const others = await otherServicesEndpoint(world)
  const env: Record<string, string> = {
    AWS_ENDPOINT_URL: others.url,
    AWS_ENDPOINT_URL_EC2: ec2.url,
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ACCESS_KEY_ID: KEY_ID,
    AWS_SECRET_ACCESS_KEY: 'not-a-secret',
    AWS_REGION: 'eu-central-1',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  }
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, env)
  return {
    world,
    faults,
    ami,
    nextAmi,
    env,
    /** id → AMI of what EC2 runs now. */
    running(): Record<string, string> {
      const up = [...world.instances.values()].filter((instance) => instance.state === 'running')
      return Object.fromEntries(up.map((instance) => [instance.tags.get('clawdinator:id'), instance.imageId]))
    },
    async close() {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
      await Promise.all([ec2.close(), s3.close(), others.close()])
    },
  }
}

/** Runs the stand-in inside this process. */
export async function standIn(dir: string, args: readonly string[], signal = new AbortController().signal) {
  let stdout = ''
  let stderr = ''
  const exitCode = await runTofu([`-chdir=${dir}`, ...args], {
    cwd: ROOT,
    env: { CLAWCTL_TOFU_SPEED: '1000' },
    out: (text) => {
      stdout += text
    },
    err: (text) => {
      stderr += text
    },
    signal,
  })
  return { exitCode, stdout, stderr }
}

export function varArgs(ami: string, ids?: readonly string[]): string[] {
  const vars = { ...VARS, ami_id: ami, ...(ids ? { instance_ids: JSON.stringify(ids) } : {}) }
  return Object.entries(vars).map(([name, value]) => `-var=${name}=${value}`)
}

export const INIT = ['init', ...Object.entries(BACKEND).map(([key, value]) => `-backend-config=${key}=${value}`)]

/** The user data that a plan of the shipped stack gives the host. */
export async function userDataOf(vars: Record<string, string>, id: string): Promise<string> {
  const stack = readStack(STACK)
  const given = Object.entries(vars).map(([name, value]) => ({ flag: 'var' as const, value: `${name}=${value}` }))
  const variables = readVariables(stack, given, {}, () => {})
  const none = () => Promise.reject(new Error('there is nothing to import'))
  const changes = await planChanges(stack, variables, new State(), { replace: [], destroy: false, import: none })
  const instance = changes.find(({ address }) => address === `aws_instance.clawdinator["${id}"]`)
  return String(instance?.change.after?.user_data)
}
