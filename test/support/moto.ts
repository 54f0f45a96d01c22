import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateTagsCommand,
  CreateVpcCommand,
  DescribeVpcsCommand,
  EC2Client,
  RegisterImageCommand,
} from '@aws-sdk/client-ec2'
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { execa } from 'execa'
import type { World } from '../../sandbox/aws/world.js'
import { putBundles } from '../../sandbox/bundles.js'
import { createObjectStore } from '../../src/lib/adapters/aws/objectStore.js'
import { createCompute } from '../../src/lib/adapters/deploy/compute.js'
import type { Heartbeat } from '../../src/lib/domain/contract/index.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import { parseRegistry } from '../../src/lib/domain/registry/registry.js'
import { BIN } from './commandThreads.js'
import { heartbeatOf } from './fakes.js'
import { ROOT } from './plane.js'

/** MOTO_URL, CLAWCTL_TF_MIRROR (a filesystem mirror with the provider), and a tofu in PATH or TOFU. */
const { MOTO_URL = '', CLAWCTL_TF_MIRROR, TOFU = 'tofu' } = process.env
const tofu = spawnSync('sh', ['-c', 'command -v "$0"', TOFU], { encoding: 'utf8' }).stdout.trim()
const missing = [
  ...(MOTO_URL ? [] : ['MOTO_URL']),
  ...(CLAWCTL_TF_MIRROR ? [] : ['CLAWCTL_TF_MIRROR']),
  ...(tofu ? [] : ['tofu']),
]
/** False: the tests can't run here. */
export const HAS_MOTO = missing.length === 0
/** For the title of a suite. */
export const WITHOUT_MOTO = HAS_MOTO ? '' : ` (skipped without ${missing.join(', ')})`
export { MOTO_URL }

const REGION = 'eu-central-1'
const BUCKET = 'claw-fleet'
const SETTINGS = {
  ...{ AWS_ENDPOINT_URL: MOTO_URL, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: REGION },
  ...{ S3_BUCKET: BUCKET, CLAWDINATOR_CONTROL_API_URL: 'https://example.com', CHECKPOINT_DISABLE: '1' },
  ...{ CLAWCTL_MODE: 'ci', CLAWCTL_HEALTH_TIMEOUT: '2m' },
  // GitHub does not answer: the history is what the records say.
  ...{
    GITHUB_REPOSITORY: 'openclaw/clawdinators',
    GITHUB_TOKEN: 'ghp_0123456789abcdef',
    GITHUB_API_URL: 'http://127.0.0.1:1',
  },
}

/** A command that runs. */
export interface Begun {
  pid: number
  /** Its stdout and stderr until now. */
  said(): string
  /** Never rejects; the code is null if a signal ended it. */
  ended: Promise<{ code: number | null; stdout: string; all: string }>
}

/**
 * An empty account in moto with a bucket and the bundles, a checkout to deploy from, and hosts, which are the heartbeats
 * that they would write.
 */
export async function startFleetOnMoto() {
  const outside = { ...process.env }
  const folder = mkdtempSync(join(tmpdir(), 'clawctl-moto-'))
  const config = join(folder, 'tofurc')
  writeFileSync(config, `provider_installation {\n  filesystem_mirror {\n    path = "${CLAWCTL_TF_MIRROR}"\n  }\n}\n`)
  Object.assign(process.env, SETTINGS, { TF_CLI_CONFIG_FILE: config })
  const checkout = join(folder, 'checkout')
  const withoutProvider = { recursive: true, filter: (path: string) => !path.includes('.terraform/') }
  for (const part of ['infra', 'nix', 'clawdinator']) cpSync(join(ROOT, part), join(checkout, part), withoutProvider)
  for (const part of ['package.json', 'flake.nix']) cpSync(join(ROOT, part), join(checkout, part))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(tofu, join(folder, 'bin/tofu'))
  const PATH = `${join(folder, 'bin')}:${process.env.PATH}`
  const registryPath = join(checkout, 'nix/instances.json')

  await fetch(`${MOTO_URL}/moto-api/reset`, { method: 'POST' })
  const s3 = new S3Client({ region: REGION, forcePathStyle: true })
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: REGION } }))
  const ec2 = new EC2Client({ region: REGION })
  const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand({}))
  if (Vpcs.length === 0) await ec2.send(new CreateVpcCommand({ CidrBlock: '10.0.0.0/16' }))
  const stop = new AbortController()
  const hosts = reportUntil(stop.signal)

  const registry = (): Record<string, object> => JSON.parse(readFileSync(registryPath, 'utf8'))
  /** Writes the registry and the bundles of all its instances. */
  async function register(entries: Record<string, object>): Promise<void> {
    const text = JSON.stringify(entries, null, 2)
    writeFileSync(registryPath, text)
    const puts: Promise<unknown>[] = []
    const putObject: World['putObject'] = (Bucket, Key, Body, { sse } = {}) => {
      const encryption = sse ? ({ ServerSideEncryption: 'aws:kms' } as const) : {}
      const body = { Body: Body as Buffer, ChecksumAlgorithm: 'SHA256' as const }
      puts.push(s3.send(new PutObjectCommand({ Bucket, Key, ...body, ...encryption })))
      return undefined as never
    }
    const world = { putObject, now: () => new Date(), defaultKmsKey: 'default' } as unknown as World
    await putBundles(world, BUCKET, parseRegistry(text, 'nix/instances.json'), 'abc1234')
    await Promise.all(puts)
  }
  await register(registry())

  async function publishImage(name: string): Promise<string> {
    // moto's times have the precision of a second.
    await sleep(1001)
    const image = {
      Name: name,
      Architecture: 'x86_64',
      RootDeviceName: '/dev/xvda',
      VirtualizationType: 'hvm',
    } as const
    const { ImageId = '' } = await ec2.send(new RegisterImageCommand(image))
    // moto does not take tags with the registration.
    await ec2.send(new CreateTagsCommand({ Resources: [ImageId], Tags: [{ Key: 'clawdinator', Value: 'true' }] }))
    return ImageId
  }

  function begin(args: readonly string[], env: Record<string, string> = {}): Begun {
    const child = execa(process.execPath, [BIN, ...args], {
      ...{ cwd: checkout, env: { ...process.env, PATH, ...env }, extendEnv: false, reject: false, stdin: 'ignore' },
      ...{ all: true, cleanup: false },
    })
    let said = ''
    child.all.on('data', (chunk) => (said += chunk))
    return {
      pid: child.pid as number,
      said: () => said,
      ended: child.then(({ exitCode, stdout, all }) => ({ code: exitCode ?? null, stdout, all })),
    }
  }

  /** OpenTofu in the folder of the fleet stack, after clawctl has initialised it. */
  const runTofu = (...args: string[]) =>
    execa(tofu, [`-chdir=${join(checkout, 'infra/opentofu/aws/fleet')}`, ...args], { stdin: 'ignore' })

  /** Every machine that EC2 has not terminated, oldest first. */
  const machines = async () =>
    (await createCompute({ region: REGION }).describeHosts())
      .filter(({ state }) => state !== 'shutting-down')
      .sort((a, b) => a.id.localeCompare(b.id) || a.launchedAt.localeCompare(b.launchedAt))

  return {
    region: REGION,
    bucket: BUCKET,
    checkout,
    store: createObjectStore({ region: REGION, bucket: BUCKET }),
    registry,
    register,
    publishImage,
    begin,
    tofu: runTofu,
    machines,
    running: async () =>
      (await machines()).filter(({ state }) => state === 'running').map(({ id, ami }) => `${id} ${ami}`),
    async close() {
      stop.abort()
      await hosts
      for (const name of [...Object.keys(SETTINGS), 'TF_CLI_CONFIG_FILE']) {
        if (outside[name] === undefined) delete process.env[name]
        else process.env[name] = outside[name]
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
export type FleetOnMoto = Awaited<ReturnType<typeof startFleetOnMoto>>

/** `id outcome` of each host of a deploy's document. */
export const outcomes = ({ deploy }: { deploy: { hosts: { id: string; outcome: string }[] } }) =>
  deploy.hosts.map(({ id, outcome }) => `${id} ${outcome}`)

/** Every running machine reports each second: it acts if its id's object names it, or if there is no object. */
async function reportUntil(signal: AbortSignal): Promise<void> {
  const store = createObjectStore({ region: REGION, bucket: BUCKET })
  const compute = createCompute({ region: REGION })
  const acted = new Set<string>()
  const report = async (host: Host) => {
    const object = await store.get(`active/${host.id}.json`)
    const acts = object === null || JSON.parse(object.text).instanceId === host.instanceId
    if (acts) acted.add(host.instanceId)
    const stage = acts ? 'active' : acted.has(host.instanceId) ? 'yielded' : 'standby'
    const now = Date.now()
    const ago = (seconds: number) => new Date(now - seconds * 1000).toISOString()
    const reached = ['booted', 'bundle', 'secrets', 'repositories', 'switch', 'standby', ...(acts ? ['active'] : [])]
    const beat = heartbeatOf(host, {
      ...{ at: ago(0), stage, stageSince: ago(90) },
      stages: reached.map((name) => ({ stage: name, at: ago(120) })) as Heartbeat['stages'],
      gateway: {
        ...{ state: 'active', mainPid: 700, restarts: 0, activeSince: ago(90), plugins: [], probedAt: ago(0) },
        channels: [{ name: 'discord', connected: true, reason: null }],
      },
    })
    await store.put(`heartbeats/${host.id}/${host.instanceId}.json`, JSON.stringify(beat))
  }
  while (!signal.aborted) {
    const all = await compute.describeHosts()
    await Promise.all(all.filter(({ state }) => state === 'running').map(report))
    await sleep(1000)
  }
}
