import {
  CreateTagsCommand,
  DescribeImagesCommand,
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  DescribeVolumesCommand,
  EC2Client,
  paginateDescribeInstances,
  RunInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2'
import { expect } from 'chai'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import type { Endpoint, LoggedRequest } from '../../sandbox/http.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { eagerRetries, failure } from './awsSupport.js'

const KEY = 'AKIASANDBOX'

describe('sandbox: EC2', () => {
  let world: World
  let faults: Faults
  let endpoint: Endpoint
  let log: LoggedRequest[]
  let ec2: EC2Client
  let retried: string[]
  let image: string

  beforeEach(async () => {
    world = new World()
    faults = new Faults()
    log = []
    retried = []
    image = world.addImage({ name: 'clawdinator-1', tags: [['clawdinator', 'true']] }).id
    endpoint = await ec2Endpoint(world, { faults, accessKeyId: KEY, log: (line) => log.push(line) })
    ec2 = client()
  })
  afterEach(async () => {
    ec2.destroy()
    await endpoint.close()
  })

  function client(accessKeyId = KEY): EC2Client {
    const credentials = { accessKeyId, secretAccessKey: 'not verified' }
    return new EC2Client({
      endpoint: endpoint.url,
      region: world.region,
      credentials,
      retryStrategy: eagerRetries(retried),
    })
  }

  function launch(id: string, state: 'running' | 'pending' | 'stopped' = 'running') {
    const tags: [string, string][] = [
      ['app', 'clawdinator'],
      ['clawdinator:id', id],
    ]
    return world.launch({ imageId: image, instanceType: 't3.small', tags, state })
  }

  async function idsOf(filters: Record<string, string[]>): Promise<string[]> {
    const Filters = Object.entries(filters).map(([Name, Values]) => ({ Name, Values }))
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters }))
    return Reservations.flatMap((r) => r.Instances ?? []).map(
      (i) => i.Tags?.find((t) => t.Key === 'clawdinator:id')?.Value ?? '',
    )
  }

  describe('RunInstances', () => {
    const request = () => ({
      ImageId: image,
      InstanceType: 't3.large' as const,
      MinCount: 1,
      MaxCount: 1,
      UserData: Buffer.from('#!/bin/sh\necho "<hi> & bye"').toString('base64'),
      ClientToken: 'token-1',
      TagSpecifications: [{ ResourceType: 'instance' as const, Tags: [{ Key: 'Name', Value: 'a <b> & "c"\r\n d' }] }],
    })

    it('launches a pending instance that DescribeInstances shows', async () => {
      const launched: string[] = []
      world.onLaunch((instance) => launched.push(instance.id))
      const { Instances = [], ReservationId } = await ec2.send(new RunInstancesCommand(request()))
      const id = Instances[0]?.InstanceId ?? ''
      expect(id).to.match(/^i-[0-9a-f]{17}$/)
      expect(launched).to.deep.equal([id])

      const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }))
      expect(Reservations.map((r) => r.ReservationId)).to.deep.equal([ReservationId])
      const instance = Reservations[0]?.Instances?.[0]
      expect(instance).to.deep.include({
        InstanceId: id,
        ImageId: image,
        InstanceType: 't3.large',
        State: { Code: 0, Name: 'pending' },
        Tags: [{ Key: 'Name', Value: 'a <b> & "c"\r\n d' }],
        Architecture: 'x86_64',
      })
      expect(instance?.LaunchTime).to.deep.equal(world.instances.get(id)?.launchTime)
      expect(instance?.PublicIpAddress).to.match(/^203\.0\.113\.\d+$/)
      expect(world.instances.get(id)?.userData).to.equal(request().UserData)
    })

    it('launches nothing for a repeated client token, and refuses it for another request', async () => {
      const first = await ec2.send(new RunInstancesCommand(request()))
      const again = await ec2.send(new RunInstancesCommand(request()))
      expect(again.Instances?.map((i) => i.InstanceId)).to.deep.equal(first.Instances?.map((i) => i.InstanceId))
      expect(world.instances.size).to.equal(1)
      const other = new RunInstancesCommand({ ...request(), InstanceType: 't3.small' })
      expect(await failure(ec2.send(other))).to.include({ name: 'IdempotentParameterMismatch', status: 400 })
    })

    it('launches MaxCount instances in one reservation', async () => {
      const { Instances = [] } = await ec2.send(new RunInstancesCommand({ ...request(), MaxCount: 3 }))
      expect(new Set(Instances.map((i) => i.InstanceId)).size).to.equal(3)
      const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({}))
      expect(Reservations.map((r) => r.Instances?.length)).to.deep.equal([3])
    })

    it('refuses an unknown, malformed or unavailable image, and parameters that it does not emulate', async () => {
      const pending = world.addImage({ name: 'new', state: 'pending' }).id
      const run = (input: object) => failure(ec2.send(new RunInstancesCommand({ ...request(), ...input })))
      expect((await run({ ImageId: 'ami-00000000000000000' })).name).to.equal('InvalidAMIID.NotFound')
      expect((await run({ ImageId: 'ami-nonsense' })).name).to.equal('InvalidAMIID.Malformed')
      expect((await run({ ImageId: pending })).name).to.equal('InvalidAMIID.Unavailable')
      expect((await run({ MinCount: 2 })).name).to.equal('InvalidParameterValue')
      expect((await run({ UserData: 'not base64!' })).name).to.equal('InvalidParameterValue')
      expect((await run({ UserData: Buffer.alloc(16_385).toString('base64') })).name).to.equal('InvalidParameterValue')
      expect(await run({ KeyName: 'mine' })).to.include({ name: 'UnknownParameter', status: 400 })
      expect((await run({ DryRun: true })).name).to.equal('DryRunOperation')
      expect(world.instances.size).to.equal(0)
    })
  })

  describe('DescribeInstances', () => {
    it('combines filters by `and`, their values by `or`, with wildcards', async () => {
      launch('clawdinator-1')
      launch('clawdinator-2', 'pending')
      launch('other.1')
      world.launch({ imageId: image, instanceType: 't3.small' })
      expect(await idsOf({ 'tag:app': ['clawdinator'], 'instance-state-name': ['running'] })).to.deep.equal([
        'clawdinator-1',
        'other.1',
      ])
      expect(await idsOf({ 'tag:clawdinator:id': ['clawdinator-?'] })).to.have.length(2)
      expect(await idsOf({ 'tag:clawdinator:id': ['claw*-1', 'OTHER.1'] })).to.deep.equal(['clawdinator-1'])
      expect(await idsOf({ 'tag:clawdinator:id': ['other?1', 'clawdinator-2'] })).to.have.length(2)
      expect(await idsOf({ 'tag:clawdinator:id': ['clawdinator-\\*'] })).to.deep.equal([])
      expect(await idsOf({ 'tag-key': ['clawdinator:id'] })).to.have.length(3)
      expect(await idsOf({ 'image-id': ['ami-*'] })).to.have.length(4)
      expect(await idsOf({ 'instance-id': ['i-0'] })).to.deep.equal([])
      const wrong = new DescribeInstancesCommand({ Filters: [{ Name: 'instance-state', Values: ['running'] }] })
      expect((await failure(ec2.send(wrong))).name).to.equal('InvalidParameterValue')
    })

    it('returns pages without repeated or missing items, also if instances change in between', async () => {
      const ids = Array.from({ length: 12 }, (_, n) => launch(`c-${n}`).id)
      const seen: string[][] = []
      for await (const page of paginateDescribeInstances({ client: ec2, pageSize: 5 }, {})) {
        seen.push((page.Reservations ?? []).flatMap((r) => r.Instances ?? []).map((i) => i.InstanceId ?? ''))
        if (seen.length === 1) ids.push(launch('late').id)
      }
      expect(seen.map((page) => page.length)).to.deep.equal([5, 5, 3])
      expect(seen.flat()).to.deep.equal(ids)
    })

    it('returns no token for an empty page', async () => {
      for (let n = 0; n < 5; n++) launch(`c-${n}`)
      launch('c-stopped', 'stopped')
      const Filters = [{ Name: 'instance-state-name', Values: ['running'] }]
      const page = await ec2.send(new DescribeInstancesCommand({ Filters, MaxResults: 5 }))
      expect(page.Reservations).to.have.length(5)
      expect(page.NextToken).to.equal(undefined)
    })

    it('refuses invalid pages and ids', async () => {
      const { id } = launch('c-1')
      const describe = (input: object) => failure(ec2.send(new DescribeInstancesCommand(input)))
      expect((await describe({ MaxResults: 4 })).name).to.equal('InvalidParameterValue')
      expect((await describe({ NextToken: 'nonsense' })).name).to.equal('InvalidParameterValue')
      expect((await describe({ MaxResults: 5, InstanceIds: [id] })).name).to.equal('InvalidParameterCombination')
      expect((await describe({ InstanceIds: ['i-1'] })).name).to.equal('InvalidInstanceID.Malformed')
      const unknown = await describe({ InstanceIds: [id, 'i-00000000000000000'] })
      expect(unknown).to.include({ name: 'InvalidInstanceID.NotFound', status: 400 })
      expect(unknown.message).to.include("'i-00000000000000000'").and.not.include(id)
    })
  })

  it('DescribeInstanceStatus shows running instances, and all of them on request', async () => {
    const running = launch('c-1')
    const pending = launch('c-2', 'pending')
    const status = async (input: object) => {
      const { InstanceStatuses = [] } = await ec2.send(new DescribeInstanceStatusCommand(input))
      return InstanceStatuses.map((s) => [
        s.InstanceId,
        s.InstanceState?.Name,
        s.SystemStatus?.Status,
        s.InstanceStatus?.Status,
      ])
    }
    const ok = [running.id, 'running', 'ok', 'ok']
    expect(await status({})).to.deep.equal([ok])
    const notYet = [pending.id, 'pending', 'not-applicable', 'not-applicable']
    expect(await status({ IncludeAllInstances: true })).to.deep.equal([ok, notYet])
    expect(await status({ InstanceIds: [pending.id], IncludeAllInstances: true })).to.deep.equal([notYet])
    running.checks = 'impaired'
    expect(await status({})).to.deep.equal([[running.id, 'running', 'impaired', 'impaired']])
    for (let n = 0; n < 6; n++) launch(`more-${n}`)
    const page = await ec2.send(new DescribeInstanceStatusCommand({ MaxResults: 5 }))
    const rest = await ec2.send(new DescribeInstanceStatusCommand({ MaxResults: 5, NextToken: page.NextToken }))
    expect([page.InstanceStatuses?.length, rest.InstanceStatuses?.length, rest.NextToken]).to.deep.equal([
      5,
      2,
      undefined,
    ])
  })

  it('DescribeImages finds by id, owner, name, state and tag', async () => {
    const createdAt = new Date('2026-11-01T10:00:00.000Z')
    const other = world.addImage({ name: 'base-x', createdAt, state: 'pending', architecture: 'arm64' }).id
    const find = async (input: object) => {
      const { Images = [] } = await ec2.send(new DescribeImagesCommand(input))
      return Images.map((i) => i.ImageId)
    }
    const by = (Name: string, ...Values: string[]) => find({ Filters: [{ Name, Values }] })
    expect(await find({ Owners: ['self'] })).to.deep.equal([image, other])
    expect(await find({ Owners: ['amazon'] })).to.deep.equal([])
    expect(await by('tag:clawdinator', 'true')).to.deep.equal([image])
    expect(await by('state', 'pending')).to.deep.equal([other])
    expect(await by('name', 'clawdinator-*', 'nothing')).to.deep.equal([image])
    const { Images = [] } = await ec2.send(new DescribeImagesCommand({ ImageIds: [other] }))
    expect(Images).to.have.length(1)
    expect(Images[0]).to.deep.include({
      ImageId: other,
      Name: 'base-x',
      State: 'pending',
      CreationDate: '2026-11-01T10:00:00.000Z',
      Architecture: 'arm64',
      RootDeviceName: '/dev/xvda',
    })
    expect(Images[0]?.BlockDeviceMappings?.[0]?.Ebs?.SnapshotId).to.match(/^snap-[0-9a-f]{17}$/)
    const unknown = new DescribeImagesCommand({ ImageIds: ['ami-00000000000000000'] })
    expect(await failure(ec2.send(unknown))).to.include({ name: 'InvalidAMIID.NotFound', status: 400 })
    const malformed = new DescribeImagesCommand({ ImageIds: ['ami-XYZ'] })
    expect(await failure(ec2.send(malformed))).to.include({ name: 'InvalidAMIID.Malformed', status: 400 })
  })

  it('the latest image is the newest available one with the tag; of equal times the higher id', () => {
    expect(new World().latestImage()).to.equal(null)
    const add = (id: string, time: string, state: 'available' | 'pending' = 'available', tag = 'true') =>
      world.addImage({ id, name: id, createdAt: new Date(time), state, tags: [['clawdinator', tag]] })
    for (const id of ['ami-b', 'ami-c', 'ami-a']) add(id, '2100-01-01T00:00:00Z')
    add('ami-d', '2099-01-01T00:00:00Z')
    add('ami-e', '2101-01-01T00:00:00Z', 'pending')
    add('ami-f', '2101-01-01T00:00:00Z', 'available', 'false')
    expect(world.latestImage()?.id).to.equal('ami-c')
  })

  it('TerminateInstances starts a shutdown only once', async () => {
    const { id } = launch('c-1')
    let calls = 0
    world.onTerminate(() => calls++)
    const terminate = new TerminateInstancesCommand({ InstanceIds: [id] })
    const { TerminatingInstances: first } = await ec2.send(terminate)
    expect(first).to.deep.equal([
      {
        InstanceId: id,
        CurrentState: { Code: 32, Name: 'shutting-down' },
        PreviousState: { Code: 16, Name: 'running' },
      },
    ])
    const { TerminatingInstances: second } = await ec2.send(terminate)
    expect(second?.[0]?.PreviousState?.Name).to.equal('shutting-down')
    expect(calls).to.equal(1)
    const both = new TerminateInstancesCommand({ InstanceIds: [launch('c-2').id, 'i-00000000000000000'] })
    expect((await failure(ec2.send(both))).name).to.equal('InvalidInstanceID.NotFound')
    expect(await idsOf({ 'instance-state-name': ['running'] })).to.deep.equal(['c-2'])
  })

  it('CreateTags sets and overwrites tags on every resource or on none', async () => {
    const { id } = launch('c-1')
    const Tags = [
      { Key: 'clawdinator:id', Value: 'c-9' },
      { Key: 'note', Value: '' },
    ]
    await ec2.send(new CreateTagsCommand({ Resources: [id, image], Tags }))
    expect(await idsOf({ 'tag:note': [''] })).to.deep.equal(['c-9'])
    expect(world.images.get(image)?.tags.get('clawdinator')).to.equal('true')
    expect(world.images.get(image)?.tags.get('clawdinator:id')).to.equal('c-9')
    const missing = { Resources: [id, 'ami-00000000000000000'], Tags: [{ Key: 'late', Value: '1' }] }
    expect((await failure(ec2.send(new CreateTagsCommand(missing)))).name).to.equal('InvalidAMIID.NotFound')
    expect(world.instances.get(id)?.tags.has('late')).to.equal(false)
    const volume = { Resources: ['vol-1'], Tags }
    expect((await failure(ec2.send(new CreateTagsCommand(volume)))).name).to.equal('InvalidID')
  })

  it('names an action that it does not emulate', async () => {
    const error = await failure(ec2.send(new DescribeVolumesCommand({})))
    expect(error).to.include({ name: 'InvalidAction', status: 400 })
    expect(error.message).to.include('does not emulate the action "DescribeVolumes"')
  })

  it('accepts only one access key, and no unsigned request', async () => {
    const other = client('AKIASTRANGER')
    expect(await failure(other.send(new DescribeInstancesCommand({})))).to.include({
      name: 'AuthFailure',
      status: 401,
    })
    other.destroy()
    const unsigned = await fetch(endpoint.url, { method: 'POST', body: 'Action=DescribeInstances&Version=2016-11-15' })
    expect(unsigned.status).to.equal(401)
    expect(await unsigned.text()).to.include('<Response><Errors><Error><Code>AuthFailure</Code>')
    expect(log.map((line) => line.status)).to.deep.equal([401, 401])
  })

  for (const [fault, statuses, kind] of [
    ['ec2:throttle', [503, 503, 200], 'THROTTLING'],
    ['ec2:error', [500, 500, 200], 'TRANSIENT'],
    ['ec2:reset', ['reset', 'reset', 200], 'TRANSIENT'],
  ] as const) {
    it(`${fault}: the SDK retries until it succeeds`, async () => {
      launch('c-1')
      faults.add(parseFault(fault))
      expect(await idsOf({})).to.deep.equal(['c-1'])
      expect(log.map((line) => line.status)).to.deep.equal(statuses)
      expect(retried).to.deep.equal([kind, kind])
    })
  }

  it("fails with EC2's text after the retries", async () => {
    faults.add(parseFault('ec2:throttle=3'))
    const throttled = await failure(ec2.send(new DescribeInstancesCommand({})))
    expect(throttled).to.include({ name: 'RequestLimitExceeded', status: 503 })
    faults.add(parseFault('ec2:error=3'))
    const broken = await failure(ec2.send(new DescribeInstancesCommand({})))
    expect(broken).to.include({ name: 'InternalError', status: 500 })
  })

  it('accepts profile, metadata options and volume of a machine, and refuses what account or image forbid', async () => {
    world = new World({ httpTokensEnforced: true })
    await endpoint.close()
    endpoint = await ec2Endpoint(world, { faults, accessKeyId: KEY })
    ec2 = client()
    image = world.addImage({ name: 'another' }).id
    world.iam.createProfile({ name: 'one', path: '/fleet/', tags: {} })
    const base = { ImageId: image, InstanceType: 't3.small' as const, MinCount: 1, MaxCount: 1 }
    const tokens = { MetadataOptions: { HttpTokens: 'required' as const } }
    const volume = (VolumeSize: number) => ({
      BlockDeviceMappings: [{ DeviceName: '/dev/xvda', Ebs: { Encrypted: true, VolumeSize } }],
    })
    const run = (more: object) => ec2.send(new RunInstancesCommand({ ...base, ...more }))
    const [made] = (await run({ ...tokens, ...volume(20), IamInstanceProfile: { Name: 'one' } })).Instances ?? []
    expect(made?.IamInstanceProfile?.Arn).to.equal('arn:aws:iam::000000000000:instance-profile/fleet/one')
    expect(made?.MetadataOptions).to.include({ HttpTokens: 'required', HttpEndpoint: 'enabled' })
    expect(world.instances.get(made?.InstanceId ?? '')?.rootVolume).to.include({ encrypted: true, size: 20 })
    expect((await failure(run({}))).name).to.equal('UnsupportedOperation')
    expect((await failure(run({ ...tokens, ...volume(4) }))).name).to.equal('InvalidBlockDeviceMapping')
    expect((await failure(run({ ...tokens, IamInstanceProfile: { Name: 'none' } }))).name).to.equal(
      'InvalidParameterValue',
    )
  })

  it('stops only a running machine', async () => {
    const { id } = launch('clawdinator-1')
    const stop = (InstanceId: string) => ec2.send(new StopInstancesCommand({ InstanceIds: [InstanceId] }))
    const [change] = (await stop(id)).StoppingInstances ?? []
    expect([change?.PreviousState?.Name, change?.CurrentState?.Name]).to.deep.equal(['running', 'stopping'])
    const pending = launch('clawdinator-2', 'pending')
    expect((await failure(stop(pending.id))).name).to.equal('IncorrectInstanceState')
  })
})
