import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EC2Client, RunInstancesCommand, TerminateInstancesCommand } from '@aws-sdk/client-ec2'
import { expect } from 'chai'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { type Instance, type Launch, World } from '../../sandbox/aws/world.js'
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
    addRole()
    faults = new Faults()
    notes = []
    hosts = startHosts()
  })
  afterEach(() => hosts.stop())

  function startHosts(options: Partial<HostsOptions> = {}): Hosts {
    const quick = { bootMs: 20, standbyMs: 5, activeMs: 5, retryMs: 5 }
    const started = new Hosts({ world, faults, onNote: (n) => notes.push(n), ...quick, ...options })
    started.start()
    return started
  }

  function addImage(createdAt: string, revision?: string): string {
    const tags: [string, string][] = [['clawdinator', 'true']]
    if (revision) tags.push(['clawdinator:revision', revision])
    return world.addImage({ name: `image-${createdAt}`, createdAt: new Date(createdAt), tags }).id
  }

  function userData(prefix = `bootstrap/${ID}`): string {
    const values = {
      host: ID,
      'request-id': 'request-0001',
      'instance-name': ID,
      'bootstrap-prefix': prefix,
      'control-api-url': 'https://x/',
      bucket: BUCKET,
    }
    const lines = Object.entries(values).map(([name, value]) => `write_value ${name} '${value}'`)
    return Buffer.from(`#!/bin/sh\n${lines.join('\n')}\n`).toString('base64')
  }

  /** A role with the same permissions as the stack's. */
  function addRole(allowed: Record<string, string[]> = {}): void {
    const trust = { Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } }
    const actions = {
      's3:GetObject': ['bootstrap/*', `active/${ID}.json`],
      's3:PutObject': [`heartbeats/${ID}/*`],
      's3:ListBucket': [''],
      ...allowed,
    }
    const statements = Object.entries(actions).map(([Action, keys]) => ({
      ...{ Effect: 'Allow', Action },
      Resource: keys.map((key) => `arn:aws:s3:::${BUCKET}${key === '' ? '' : `/${key}`}`),
    }))
    const document = (Statement: object[]) => JSON.stringify({ Version: '2012-10-17', Statement })
    const role = { name: ID, path: '/', trust: document([trust]), boundary: null, description: null, tags: {} }
    world.iam.createRole(role)
    world.iam.putRolePolicy(ID, 'own', document(statements.filter(({ Resource }) => Resource.length > 0)))
    world.iam.createProfile({ name: ID, path: '/', tags: {} })
    world.iam.addRole(ID, ID)
  }

  function launch(
    options: { imageId?: string; state?: 'running'; prefix?: string; app?: string } & Partial<Launch> = {},
  ): Instance {
    const { app = 'clawdinator', prefix, ...more } = options
    const tags: [string, string][] = [
      ['app', app],
      ['clawdinator:id', ID],
    ]
    const machine = { imageId: image, instanceType: 't3.large', profile: ID, userData: userData(prefix) }
    return world.launch({ ...machine, tags, ...more })
  }

  function addBundle(prefix = `bootstrap/${ID}`): void {
    const body = Buffer.from('age-encryption.org/v1 …')
    const sha256 = createHash('sha256').update(body).digest('hex')
    world.putObject(BUCKET, `${prefix}/secrets/token.age`, body)
    const manifest: BundleManifest = {
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
    world.putObject(BUCKET, `${prefix}/config.json`, JSON.stringify(manifest))
  }

  /** The heartbeats of the instance, or of the one that was launched last. */
  function heartbeat(instanceId = [...world.instances.keys()].at(-1) ?? '') {
    const object = world.getObject(BUCKET, `heartbeats/${ID}/${instanceId}.json`)
    return object && heartbeatSchema.parse(JSON.parse(object.body.toString()))
  }

  const stage = (instanceId?: string) => heartbeat(instanceId)?.stage ?? null

  function nameActive(instanceId: string): void {
    const active = { schema: 1, id: ID, instanceId, deploy: null, at: world.now().toISOString() }
    world.putObject(BUCKET, `active/${ID}.json`, JSON.stringify(active))
  }

  async function until(what: () => boolean): Promise<void> {
    while (!what()) await sleep(2)
  }

  /** Waits until the host has reported the end of its boot. */
  const booted = () => until(() => notes.length > 0)

  it('boots an instance that was launched through EC2, and terminates it', async () => {
    addBundle()
    const endpoint = await ec2Endpoint(world, { faults, accessKeyId: KEY })
    const credentials = { accessKeyId: KEY, secretAccessKey: 'not verified' }
    const ec2 = new EC2Client({ endpoint: endpoint.url, region: world.region, credentials })
    const Tags = [
      { Key: 'app', Value: 'clawdinator' },
      { Key: 'clawdinator:id', Value: ID },
    ]
    const run = {
      UserData: userData(),
      IamInstanceProfile: { Name: ID },
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
    expect(heartbeat()).to.include({ instanceId: id, amiId: image, revision: 'abc123', stage: 'active' })
    expect(Date.parse(heartbeat()?.at ?? '')).to.be.within(before, Date.now())

    const { TerminatingInstances } = await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }))
    expect(TerminatingInstances?.[0]?.CurrentState?.Name).to.equal('shutting-down')
    await until(() => world.instances.get(id)?.state === 'terminated')
    expect(world.instances.get(id)?.publicIp).to.equal(null)
    ec2.destroy()
    await endpoint.close()
  })

  it('is pending and initializing before its first heartbeat', async () => {
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
    await until(() => stage() === 'active')
    look()
    expect([...seen]).to.deep.equal([
      'pending initializing silent',
      'running initializing silent',
      'running ok silent',
      'running ok beats',
    ])
    expect(heartbeat()?.stages.map((one) => one.stage)).to.deep.equal([
      ...['booted', 'bundle', 'secrets', 'repositories', 'switch', 'active'],
    ])
  })

  it('reads the bundle under the prefix of its user data', async () => {
    addBundle('bootstrap/elsewhere')
    launch({ prefix: 'bootstrap/elsewhere' })
    await booted()
    expect(heartbeat()).to.deep.include({ stage: 'active', bundle: { generation: 1 }, failure: null })
    expect(heartbeat()?.requestId).to.equal('request-0001')
  })

  for (const [what, damage, note] of [
    ['no bundle', () => world.bucket(BUCKET).clear(), 'there is no bootstrap/clawdinator-1/config.json'],
    [
      'a missing object',
      () => world.bucket(BUCKET).delete(`bootstrap/${ID}/secrets/token.age`),
      'token.age is missing',
    ],
    ['a shorter object', () => world.putObject(BUCKET, `bootstrap/${ID}/secrets/token.age`, 'x'), '1 bytes instead of'],
    [
      'another object of the same size',
      () => world.putObject(BUCKET, `bootstrap/${ID}/secrets/token.age`, 'age-encryption.org/v2 …'),
      'another SHA-256',
    ],
    ['an invalid manifest', () => world.putObject(BUCKET, `bootstrap/${ID}/config.json`, '{'), 'does not describe'],
    [
      'the manifest of another instance',
      () => world.putObject(BUCKET, `bootstrap/${ID}/config.json`, '{}'),
      'does not describe',
    ],
  ] as const) {
    it(`stays in its stage and reports the reason with ${what}`, async () => {
      addBundle()
      damage()
      const instance = launch()
      await booted()
      expect(notes[0]).to.include(note)
      expect(instance).to.include({ state: 'running', checks: 'ok' })
      expect(heartbeat()?.stage).to.equal('bundle')
      expect(heartbeat()?.failure).to.include({ stage: 'bundle', unit: 'clawdinator-bootstrap.service' })
      expect(heartbeat()?.failure?.lines[0]).to.include(note)
    })
  }

  it('retries, and continues when the bundle is complete', async () => {
    launch()
    await booted()
    addBundle()
    await until(() => stage() === 'active')
    expect(heartbeat()?.failure).to.equal(null)
  })

  for (const [what, change, note] of [
    ['no instance profile', { profile: null }, 'it has no instance profile'],
    ['no user data', { userData: null }, 'without the user data of a host'],
    ['user data that is not a script', { userData: Buffer.from('x').toString('base64') }, 'without the user data'],
    ['a disabled metadata service', { metadata: { endpoint: 'disabled' } }, 'its metadata service is off'],
  ] as const) {
    it(`does not boot with ${what}`, async () => {
      addBundle()
      launch(change)
      await booted()
      expect(notes.join()).to.include(note)
      expect([stage(), world.gateways]).to.deep.equal([null, []])
    })
  }

  for (const [what, allowed, outcome, note] of [
    ['may not read its bundle', { 's3:GetObject': [`active/${ID}.json`] }, 'bundle', 'may not s3:GetObject'],
    ['may not send heartbeats', { 's3:PutObject': [] }, null, 'may not s3:PutObject'],
    ['may not read the active machine', { 's3:GetObject': ['bootstrap/*'] }, 'standby', 'in standby'],
    ['may not list', { 's3:ListBucket': [] }, 'standby', 'in standby'],
  ] as const) {
    it(`does not become active if its role ${what}`, async () => {
      addBundle()
      world.iam.removeRole(ID, ID)
      world.iam.deleteProfile(ID)
      world.iam.deleteRolePolicy(ID, 'own')
      world.iam.deleteRole(ID)
      addRole(Object.fromEntries(Object.entries(allowed).map(([action, keys]) => [action, [...keys]])))
      launch()
      await until(() => notes.some((one) => one.includes(note)))
      expect(stage()).to.equal(outcome)
    })
  }

  for (const [fault, onLatest, onOlder] of [
    ['host:unhealthy', null, 'active'],
    ['host:dead', null, null],
    [`host:dead=${ID}`, null, null],
    ['host:dead=clawdinator-2', 'active', 'active'],
    ['host:bad-switch', 'switch', 'active'],
    ['host:bad-bundle', 'bundle', 'bundle'],
  ] as const) {
    it(`${fault}: ${onLatest} on the latest AMI, ${onOlder} on an older one`, async () => {
      addBundle()
      faults.add(parseFault(fault))
      const older = image
      launch({ imageId: addImage('2026-11-02T00:00:00Z') })
      await booted()
      expect(stage()).to.equal(onLatest)
      if (onLatest) expect(heartbeat()?.revision).to.equal(null)
      launch({ imageId: older })
      await until(() => notes.length === 2)
      expect(stage()).to.equal(onOlder)
    })
  }

  it('host:crash: the gateway restarts repeatedly, and the heartbeat reports it', async () => {
    hosts.stop()
    hosts = startHosts({ beatMs: 5 })
    addBundle()
    faults.add(parseFault('host:crash'))
    launch()
    await booted()
    expect(heartbeat()?.failure).to.deep.include({ stage: 'active', unit: 'clawdinator-gateway.service' })
    const first = heartbeat()?.gateway
    await until(() => (heartbeat()?.gateway?.restarts ?? 0) > (first?.restarts ?? 0) + 1)
    expect(heartbeat()?.gateway?.mainPid).not.to.equal(first?.mainPid)
  })

  it('host:bad-token: the probe reports that the token is rejected', async () => {
    addBundle()
    faults.add(parseFault('host:bad-token'))
    nameActive('i-0123456789abcdef0')
    launch()
    await booted()
    expect(stage()).to.equal('standby')
    expect(heartbeat()?.gateway?.channels).to.deep.equal([
      { name: 'discord', connected: false, reason: '401: the token was rejected' },
    ])
  })

  it('hands over: the candidate is standby, the old machine yields, and never are both active', async () => {
    addBundle()
    const old = launch()
    await until(() => stage(old.id) === 'active')
    nameActive(old.id)
    const next = launch()
    await until(() => stage(next.id) === 'standby')
    expect(heartbeat(next.id)?.gateway).to.include({ state: 'active' })
    expect(stage(old.id)).to.equal('active')

    // An object that can't be read changes nothing.
    world.iam.deleteRolePolicy(ID, 'own')
    await sleep(30)
    expect(world.gateways.map(({ event, acts }) => [event, acts])).to.deep.equal([
      ['start', true],
      ['start', false],
    ])
    world.iam.removeRole(ID, ID)
    world.iam.deleteProfile(ID)
    world.iam.deleteRole(ID)
    addRole()

    nameActive(next.id)
    await until(() => stage(old.id) === 'yielded' && stage(next.id) === 'active')
    expect(heartbeat(old.id)?.gateway).to.include({ state: 'inactive' })
    world.terminate(next.id)
    await until(() => next.state === 'terminated')
    expect(world.gateways.at(-1)).to.include({ instanceId: next.id, event: 'stop', acts: true })
  })

  it('gets the role back after it yielded, but not because no machine is named any more', async () => {
    addBundle()
    const { id } = launch()
    await until(() => stage() === 'active')
    nameActive('i-00000000000000000')
    await until(() => stage() === 'yielded')
    await world.deleteObject(BUCKET, `active/${ID}.json`)
    await sleep(30)
    expect(stage()).to.equal('yielded')
    nameActive(id)
    await until(() => stage() === 'active')
    expect(world.gateways.map(({ event }) => event)).to.deep.equal(['start', 'stop', 'start'])
  })

  it('host:no-yield: stays active until EC2 stops it', async () => {
    addBundle()
    const old = launch()
    await until(() => stage(old.id) === 'active')
    faults.add(parseFault('host:no-yield'))
    nameActive('i-0123456789abcdef0')
    await sleep(30)
    expect(stage(old.id)).to.equal('active')
    world.stop(old.id)
    expect(world.gateways.at(-1)).to.include({ instanceId: old.id, event: 'stop', acts: true })
    await until(() => old.state === 'stopped')
    expect(() => world.stop('i-0123456789abcdef0')).to.throw('does not exist')
  })

  it('sends heartbeats until it is terminated or stopped', async () => {
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

  it('adopts a running host immediately, without a bundle', () => {
    const instance = launch({ state: 'running' })
    hosts.adopt(instance.id)
    expect(heartbeat()).to.include({ instanceId: instance.id, amiId: image, stage: 'active' })
    expect(instance.checks).to.equal('ok')
    expect(() => hosts.adopt(launch().id)).to.throw('is not a running instance')
    const bare = launch({ state: 'running', userData: null })
    expect(() => hosts.adopt(bare.id)).to.throw('user data')
  })

  it('sends nothing for an instance that is terminated while it boots', async () => {
    addBundle()
    const instance = launch()
    world.terminate(instance.id)
    await until(() => instance.state === 'terminated')
    expect(heartbeat()).to.equal(null)
  })

  it('boots an instance that is not a host without a heartbeat', async () => {
    addBundle()
    const instance = world.launch({ imageId: image, instanceType: 't3.large', tags: [['app', 'other']] })
    await until(() => instance.checks === 'ok')
    expect([heartbeat(), notes.length]).to.deep.equal([null, 0])
  })

  it('continues launches and stops from before its start', async () => {
    hosts.stop()
    addBundle()
    const booting = launch()
    const leaving = launch({ state: 'running' })
    world.terminate(leaving.id)
    hosts = startHosts()
    await until(() => heartbeat(booting.id) !== null && leaving.state === 'terminated')
  })
})
