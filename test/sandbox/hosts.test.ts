import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EC2Client, RunInstancesCommand, TerminateInstancesCommand } from '@aws-sdk/client-ec2'
import { expect } from 'chai'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { type Instance, World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { Hosts, type HostsOptions } from '../../sandbox/hosts.js'
import type { BundleManifest } from '../../src/lib/domain/contract/index.js'
import { heartbeatSchema } from '../../src/lib/domain/contract/index.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import './awsSupport.js'

const BUCKET = 'fleet'
const ID = 'clawdinator-1'
const KEY = 'AKIASANDBOX'

describe('sandbox: hosts', () => {
  let world: World
  let faults: Faults
  let notes: string[]
  let hosts: Hosts
  let image: string

  beforeEach(() => {
    world = new World()
    world.createBucket(BUCKET)
    image = addImage('2026-11-01T00:00:00Z', 'abc123')
    faults = new Faults()
    notes = []
    hosts = startHosts()
  })
  afterEach(() => hosts.stop())

  function startHosts(options: Partial<HostsOptions> = {}): Hosts {
    const started = new Hosts({ world, faults, bucket: BUCKET, bootMs: 20, onNote: (n) => notes.push(n), ...options })
    started.start()
    return started
  }

  function addImage(createdAt: string, revision?: string): string {
    const tags: [string, string][] = [['clawdinator', 'true']]
    if (revision) tags.push(['clawdinator:revision', revision])
    return world.addImage({ name: `image-${createdAt}`, createdAt: new Date(createdAt), tags }).id
  }

  function launch(options: { imageId?: string; state?: 'running'; prefix?: string; app?: string } = {}): Instance {
    const tags: [string, string][] = [
      ['app', options.app ?? 'clawdinator'],
      ['clawdinator:id', ID],
    ]
    if (options.prefix) tags.push(['clawdinator:bootstrap-prefix', options.prefix])
    return world.launch({ imageId: options.imageId ?? image, instanceType: 't3.large', tags, state: options.state })
  }

  function addBundle(prefix = `bootstrap/${ID}`): void {
    const body = Buffer.from('age-encryption.org/v1 …')
    const sha256 = createHash('sha256').update(body).digest('hex')
    world.putObject(BUCKET, `${prefix}/secrets/token.age`, body)
    const marker: BundleManifest = {
      schema: 2,
      generation: 1,
      instance: { id: ID, host: ID, instanceType: 't3.large', bootstrapPrefix: prefix, discordTokenSecret: 'token' },
      revision: null,
      createdBy: 'test',
      createdAt: '2026-11-01T00:00:00Z',
      objects: [
        {
          kind: 'secret',
          name: 'token',
          file: 'secrets/token.age',
          key: 'secrets/token.age',
          size: body.length,
          sha256,
        },
      ],
    }
    world.putObject(BUCKET, `${prefix}/config.json`, JSON.stringify(marker))
  }

  function heartbeat() {
    const object = world.getObject(BUCKET, `heartbeats/${ID}.json`)
    return object && heartbeatSchema.parse(JSON.parse(object.body.toString()))
  }

  async function until(what: () => boolean): Promise<void> {
    while (!what()) await sleep(2)
  }

  /** Until the host has said how its boot ended. */
  const booted = () => until(() => notes.length > 0)

  it('boots an instance that was launched over EC2, and ends it', async () => {
    addBundle()
    const endpoint = await ec2Endpoint(world, { faults, accessKeyId: KEY })
    const credentials = { accessKeyId: KEY, secretAccessKey: 'not verified' }
    const ec2 = new EC2Client({ endpoint: endpoint.url, region: world.region, credentials })
    const Tags = [
      { Key: 'app', Value: 'clawdinator' },
      { Key: 'clawdinator:id', Value: ID },
    ]
    const run = {
      ImageId: image,
      MinCount: 1,
      MaxCount: 1,
      TagSpecifications: [{ ResourceType: 'instance' as const, Tags }],
    }
    const before = Date.now()
    const { Instances } = await ec2.send(new RunInstancesCommand(run))
    const id = Instances?.[0]?.InstanceId ?? ''
    await booted()
    expect(world.instances.get(id)).to.include({ state: 'running', checks: 'ok' })
    expect(heartbeat()).to.include({ instanceId: id, amiId: image, revision: 'abc123', service: 'active' })
    expect(Date.parse(heartbeat()?.at ?? '')).to.be.within(before, Date.now())

    const { TerminatingInstances } = await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }))
    expect(TerminatingInstances?.[0]?.CurrentState?.Name).to.equal('shutting-down')
    await until(() => world.instances.get(id)?.state === 'terminated')
    expect(world.instances.get(id)?.publicIp).to.equal(null)
    ec2.destroy()
    await endpoint.close()
  })

  it('passes through pending and initializing, and only then sends a heartbeat', async () => {
    addBundle()
    const instance = launch()
    const seen = new Set<string>()
    const look = () => seen.add(`${instance.state} ${instance.checks} ${heartbeat() ? 'beats' : 'silent'}`)
    look()
    for (const key of ['state', 'checks'] as const) {
      let value = instance[key] as never
      const set = (next: never) => {
        value = next
        look()
      }
      Object.defineProperty(instance, key, { get: () => value, set })
    }
    await until(() => heartbeat() !== null)
    look()
    expect([...seen]).to.deep.equal([
      'pending initializing silent',
      'running initializing silent',
      'running ok silent',
      'running ok beats',
    ])
  })

  it('reads the bundle under the prefix of its tag', async () => {
    addBundle('bootstrap/elsewhere')
    launch({ prefix: 'bootstrap/elsewhere' })
    await booted()
    expect(heartbeat()?.service).to.equal('active')
  })

  for (const [what, damage, note] of [
    ['no bundle', () => world.bucket(BUCKET).clear(), 'there is no bootstrap/clawdinator-1/config.json'],
    ['no object', () => world.bucket(BUCKET).delete(`bootstrap/${ID}/secrets/token.age`), 'token.age is missing'],
    ['a shorter object', () => world.putObject(BUCKET, `bootstrap/${ID}/secrets/token.age`, 'x'), '1 bytes instead of'],
    [
      'another object of the same size',
      () => world.putObject(BUCKET, `bootstrap/${ID}/secrets/token.age`, 'age-encryption.org/v2 …'),
      'another SHA-256',
    ],
    ['a broken marker', () => world.putObject(BUCKET, `bootstrap/${ID}/config.json`, '{'), 'does not describe'],
    ['a foreign marker', () => world.putObject(BUCKET, `bootstrap/${ID}/config.json`, '{}'), 'does not describe'],
  ] as const) {
    it(`stays silent and says why with ${what}`, async () => {
      addBundle()
      damage()
      const instance = launch()
      await booted()
      expect(notes[0]).to.include(note)
      expect(instance).to.include({ state: 'running', checks: 'ok' })
      expect(heartbeat()).to.equal(null)
    })
  }

  for (const [fault, onLatest, onOlder] of [
    ['host:unhealthy', null, 'active'],
    ['host:crash', 'failed', 'active'],
    ['host:dead', null, null],
    [`host:dead=${ID}`, null, null],
    ['host:dead=clawdinator-2', 'active', 'active'],
  ] as const) {
    it(`${fault}: ${onLatest} on the latest AMI, ${onOlder} on an older one`, async () => {
      addBundle()
      faults.add(parseFault(fault))
      const older = image
      launch({ imageId: addImage('2026-11-02T00:00:00Z') })
      await booted()
      expect(heartbeat()?.service ?? null).to.equal(onLatest)
      if (onLatest) expect(heartbeat()?.revision).to.equal(null)
      world.bucket(BUCKET).delete(`heartbeats/${ID}.json`)
      launch({ imageId: older })
      await until(() => notes.length === 2)
      expect(heartbeat()?.service ?? null).to.equal(onOlder)
    })
  }

  it('beats until it is terminated or stopped', async () => {
    hosts.stop()
    hosts = startHosts({ beatMs: 5 })
    addBundle()
    const { id } = launch()
    await booted()
    const first = heartbeat()?.at
    await until(() => heartbeat()?.at !== first)
    world.terminate(id)
    const last = heartbeat()?.at
    await sleep(30)
    expect(heartbeat()?.at).to.equal(last)
    expect(hosts.beat(id)).to.equal(false)

    const other = launch({ state: 'running' })
    hosts.adopt(other.id)
    hosts.stop()
    const stopped = heartbeat()
    expect(stopped?.instanceId).to.equal(other.id)
    await sleep(30)
    expect(heartbeat()).to.deep.equal(stopped)
  })

  it('adopts a running host at once, without a bundle', () => {
    const instance = launch({ state: 'running' })
    hosts.adopt(instance.id)
    expect(heartbeat()).to.include({ instanceId: instance.id, amiId: image, service: 'active' })
    expect(instance.checks).to.equal('ok')
    expect(() => hosts.adopt(launch().id)).to.throw('is not a running instance')
  })

  it('is silent for an instance that is terminated while it boots', async () => {
    addBundle()
    const instance = launch()
    world.terminate(instance.id)
    await until(() => instance.state === 'terminated')
    expect(heartbeat()).to.equal(null)
  })

  it('boots an instance of somebody else without a heartbeat', async () => {
    addBundle()
    const instance = launch({ app: 'other' })
    await until(() => instance.checks === 'ok')
    expect([heartbeat(), notes.length]).to.deep.equal([null, 0])
  })

  it('takes up what was under way before it started', async () => {
    hosts.stop()
    addBundle()
    launch()
    const leaving = launch({ state: 'running' })
    world.terminate(leaving.id)
    hosts = startHosts()
    await until(() => heartbeat() !== null && leaving.state === 'terminated')
  })
})
