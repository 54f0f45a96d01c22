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
import { expect } from 'chai'
import { execa } from 'execa'
import type { World } from '../../sandbox/aws/world.js'
import { putBundles } from '../../sandbox/bundles.js'
import { createObjectStore } from '../../src/lib/adapters/aws/objectStore.js'
import { createCompute } from '../../src/lib/adapters/deploy/compute.js'
import type { Heartbeat } from '../../src/lib/domain/contract/index.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import { parseRegistry } from '../../src/lib/domain/registry/registry.js'
import { BIN } from '../support/commandThreads.js'
import { heartbeatOf } from '../support/fakes.js'
import { ROOT } from '../support/plane.js'

/**
 * The commands of a fleet with the real OpenTofu and the real AWS provider against moto. Hosts are the heartbeats that they
 * would write. Needs what stacks.test.ts needs.
 */
const { MOTO_URL, CLAWCTL_TF_MIRROR, TOFU = 'tofu' } = process.env
const tofu = spawnSync('sh', ['-c', 'command -v "$0"', TOFU], { encoding: 'utf8' }).stdout.trim()
const missing = [
  ...(MOTO_URL ? [] : ['MOTO_URL']),
  ...(CLAWCTL_TF_MIRROR ? [] : ['CLAWCTL_TF_MIRROR']),
  ...(tofu ? [] : ['tofu']),
]
const REGION = 'eu-central-1'
const BUCKET = 'claw-fleet'
const [ONE, TWO] = ['clawdinator-1', 'clawdinator-2']
const SETTINGS = {
  ...{ AWS_ENDPOINT_URL: MOTO_URL ?? '', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: REGION },
  ...{ S3_BUCKET: BUCKET, CLAWDINATOR_CONTROL_API_URL: 'https://example.com', CHECKPOINT_DISABLE: '1' },
  ...{ CLAWCTL_MODE: 'ci', CLAWCTL_HEALTH_TIMEOUT: '2m' },
  // GitHub does not answer: the history is what the records say.
  ...{
    GITHUB_REPOSITORY: 'openclaw/clawdinators',
    GITHUB_TOKEN: 'ghp_0123456789abcdef',
    GITHUB_API_URL: 'http://127.0.0.1:1',
  },
}

describe(`a fleet on moto${missing.length > 0 ? ` (skipped without ${missing.join(', ')})` : ''}`, function () {
  this.timeout(900_000)
  let folder: string
  let checkout: string
  const outside = { ...process.env }
  const stop = new AbortController()
  let hosts: Promise<void>

  before(async function () {
    if (missing.length > 0) return this.skip()
    await fetch(`${MOTO_URL}/moto-api/reset`, { method: 'POST' })
    folder = mkdtempSync(join(tmpdir(), 'clawctl-moto-'))
    const config = join(folder, 'tofurc')
    writeFileSync(config, `provider_installation {\n  filesystem_mirror {\n    path = "${CLAWCTL_TF_MIRROR}"\n  }\n}\n`)
    Object.assign(process.env, SETTINGS, { TF_CLI_CONFIG_FILE: config })
    checkout = join(folder, 'checkout')
    const withoutProvider = { recursive: true, filter: (path: string) => !path.includes('.terraform/') }
    for (const part of ['infra', 'nix', 'clawdinator']) cpSync(join(ROOT, part), join(checkout, part), withoutProvider)
    for (const part of ['package.json', 'flake.nix']) cpSync(join(ROOT, part), join(checkout, part))
    mkdirSync(join(folder, 'bin'))
    symlinkSync(tofu, join(folder, 'bin/tofu'))
    await makeAccount()
    hosts = reportUntil(stop.signal)
  })
  after(async () => {
    stop.abort()
    await hosts
    for (const name of Object.keys(SETTINGS)) {
      if (outside[name] === undefined) delete process.env[name]
      else process.env[name] = outside[name]
    }
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  async function makeAccount(): Promise<void> {
    const s3 = new S3Client({ region: REGION, forcePathStyle: true })
    await s3.send(
      new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: REGION } }),
    )
    const puts: Promise<unknown>[] = []
    const putObject: World['putObject'] = (Bucket, Key, Body, { sse } = {}) => {
      const encryption = sse ? ({ ServerSideEncryption: 'aws:kms' } as const) : {}
      const body = { Body: Body as Buffer, ChecksumAlgorithm: 'SHA256' as const }
      puts.push(s3.send(new PutObjectCommand({ Bucket, Key, ...body, ...encryption })))
      return undefined as never
    }
    const world = { putObject, now: () => new Date(), defaultKmsKey: 'default' } as unknown as World
    const { entries } = readRegistryFile()
    await putBundles(world, BUCKET, entries, 'abc1234')
    await Promise.all(puts)
    const ec2 = new EC2Client({ region: REGION })
    const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand({}))
    if (Vpcs.length === 0) await ec2.send(new CreateVpcCommand({ CidrBlock: '10.0.0.0/16' }))
  }

  const registryPath = () => join(checkout, 'nix/instances.json')
  function readRegistryFile() {
    const text = readFileSync(registryPath(), 'utf8')
    return { text, entries: parseRegistry(text, 'nix/instances.json') }
  }

  async function publishImage(name: string): Promise<string> {
    // moto's times have the precision of a second.
    await sleep(1001)
    const ec2 = new EC2Client({ region: REGION })
    const image = {
      Name: name,
      Architecture: 'x86_64' as const,
      RootDeviceName: '/dev/xvda',
      VirtualizationType: 'hvm',
    }
    const { ImageId = '' } = await ec2.send(new RegisterImageCommand(image))
    // moto does not take tags with the registration.
    await ec2.send(new CreateTagsCommand({ Resources: [ImageId], Tags: [{ Key: 'clawdinator', Value: 'true' }] }))
    return ImageId
  }

  const clawctl = async (...args: string[]) => {
    const PATH = `${join(folder, 'bin')}:${process.env.PATH}`
    const { exitCode, stdout, stderr } = await execa(process.execPath, [BIN, ...args, '--json'], {
      ...{ cwd: checkout, env: { ...process.env, PATH }, extendEnv: false, reject: false, stdin: 'ignore' },
    })
    expect(exitCode, `clawctl ${args.join(' ')}\n${stderr}\n${stdout}`).to.equal(0)
    return JSON.parse(stdout)
  }
  const running = async () =>
    (await createCompute({ region: REGION }).describeHosts())
      .filter(({ state }) => state === 'running')
      .map(({ id, ami }) => `${id} ${ami}`)
      .sort()
  const outcomes = ({ deploy }: { deploy: { hosts: { id: string; outcome: string }[] } }) =>
    deploy.hosts.map(({ id, outcome }) => `${id} ${outcome}`)

  it('deploys the first host and the second, rolls, goes back, shows no drift, and retires', async () => {
    const old = await publishImage('first')
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} created`])
    expect(outcomes(await clawctl('fleet', 'deploy', TWO))).to.deep.equal([`${TWO} created`])
    expect(await running()).to.deep.equal([`${ONE} ${old}`, `${TWO} ${old}`])
    const latest = await publishImage('second')
    const rolled = await clawctl('fleet', 'deploy', 'all', '--requested-by', 'Jo')
    expect(outcomes(rolled)).to.deep.equal([`${ONE} replaced`, `${TWO} replaced`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`, `${TWO} ${latest}`])
    const back = await clawctl('fleet', 'rollback', TWO, '--requested-by', 'Jo')
    expect(outcomes(back)).to.deep.equal([`${TWO} replaced`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`, `${TWO} ${old}`])
    expect((await clawctl('fleet', 'drift')).drift.differences).to.deep.equal([])
    expect((await clawctl('fleet', 'recover')).recovery.findings).to.deep.equal([])
    const { [TWO]: _, ...rest } = JSON.parse(readRegistryFile().text)
    writeFileSync(registryPath(), JSON.stringify(rest, null, 2))
    const retired = await clawctl('fleet', 'deploy', TWO, '--retire', '--requested-by', 'Jo')
    expect(outcomes(retired)).to.deep.equal([`${TWO} retired`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`])
  })
})

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
