import {
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  DeleteSecurityGroupCommand,
  DeleteSnapshotCommand,
  DeleteTagsCommand,
  DeregisterImageCommand,
  DescribeImagesCommand,
  DescribeImportSnapshotTasksCommand,
  DescribeSecurityGroupsCommand,
  DescribeSnapshotsCommand,
  DescribeSubnetsCommand,
  EC2Client,
  GetConsoleOutputCommand,
  GetEbsEncryptionByDefaultCommand,
  ImportSnapshotCommand,
  type ImportSnapshotCommandInput,
  paginateDescribeSnapshots,
  RegisterImageCommand,
  type RegisterImageCommandInput,
  RevokeSecurityGroupEgressCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2'
import { expect } from 'chai'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { Hosts } from '../../sandbox/hosts.js'
import type { Endpoint } from '../../sandbox/http.js'
import { BOOT_LINE } from '../../src/lib/domain/images/names.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { eagerRetries, failure } from './awsSupport.js'

const Bucket = 'fleet'
const MIB = 1024 * 1024

describe('sandbox: EC2 images', () => {
  let world: World
  let faults: Faults
  let hosts: Hosts
  let endpoint: Endpoint
  let ec2: EC2Client

  beforeEach(async () => {
    world = new World()
    world.createBucket(Bucket)
    faults = new Faults()
    hosts = new Hosts({ world, faults, bootMs: 20 })
    hosts.start()
    endpoint = await ec2Endpoint(world, { faults, accessKeyId: 'AKIA' })
    ec2 = new EC2Client({
      endpoint: endpoint.url,
      region: world.region,
      credentials: { accessKeyId: 'AKIA', secretAccessKey: 'not verified' },
      retryStrategy: eagerRetries([]),
    })
  })
  afterEach(async () => {
    ec2.destroy()
    hosts.stop()
    await endpoint.close()
    await world.close()
  })

  async function until(holds: () => boolean | undefined) {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  describe('ImportSnapshot', () => {
    const start = (input: Partial<ImportSnapshotCommandInput> = {}, S3Key = 'images/a.raw', Format = 'RAW') =>
      ec2.send(
        new ImportSnapshotCommand({
          DiskContainer: { Format, UserBucket: { S3Bucket: Bucket, S3Key } },
          TagSpecifications: [{ ResourceType: 'import-snapshot-task', Tags: [{ Key: 'digest', Value: 'abc' }] }],
          ...input,
        }),
      )
    const task = async (id: string | undefined) => {
      const Filters = [{ Name: 'tag:digest', Values: ['abc'] }]
      const answer = await ec2.send(new DescribeImportSnapshotTasksCommand({ ImportTaskIds: [id ?? ''], Filters }))
      return answer.ImportSnapshotTasks?.[0]?.SnapshotTaskDetail
    }
    const end = async (id: string | undefined) => {
      const seen = new Set<string>()
      for (;;) {
        const detail = await task(id)
        seen.add(detail?.Status ?? '')
        if (detail?.Status !== 'active' && detail?.Status !== 'deleting') return { detail, seen: [...seen] }
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }

    beforeEach(() => {
      // block 0 has data, block 1 is zero, block 2 is short
      const image = Buffer.alloc(MIB + 5)
      image[7] = 1
      image[MIB] = 2
      world.putObject(Bucket, 'images/a.raw', image)
    })

    it('converts within its time, once for one client token, into a readable snapshot', async () => {
      const { ImportTaskId, SnapshotTaskDetail } = await start({ ClientToken: 't' })
      expect(SnapshotTaskDetail).to.include({ Status: 'active', StatusMessage: 'pending', Format: 'RAW' })
      expect((await start({ ClientToken: 't' })).ImportTaskId).to.equal(ImportTaskId)
      expect((await failure(start({ ClientToken: 't', Description: 'other' }))).name).to.equal(
        'IdempotentParameterMismatch',
      )
      const { detail } = await end(ImportTaskId)
      expect(detail).to.deep.include({ Status: 'completed', UserBucket: { S3Bucket: Bucket, S3Key: 'images/a.raw' } })
      const snapshot = world.snapshots.get(detail?.SnapshotId ?? '')
      expect(snapshot).to.include({ state: 'completed', volumeSize: 1 })
      expect([...(snapshot?.blocks.digests.keys() ?? [])]).to.deep.equal([0, 2])
      expect(world.imports.size).to.equal(1)
    })

    it('reads the size of the disk from the image itself', async () => {
      const vhd = Buffer.alloc(512)
      vhd.write('conectix')
      vhd.writeBigUInt64BE(BigInt(3 * 1024 * MIB), 48)
      world.putObject(Bucket, 'images/a.vhd', vhd)
      const { detail } = await end((await start({}, 'images/a.vhd', 'VHD')).ImportTaskId)
      expect(world.snapshots.get(detail?.SnapshotId ?? '')?.volumeSize).to.equal(3)
      const truncated = await end((await start({}, 'images/a.raw', 'VHD')).ImportTaskId)
      expect(truncated.detail?.StatusMessage).to.match(/^ClientError/)
    })

    for (const [fault, message] of [
      ['import:error=1', /^ServerError/],
      ['import:bad-image=1', /^ClientError/],
    ] as const) {
      it(`${fault}: deletes the task with a reason, and the next task succeeds`, async () => {
        faults.add(parseFault(fault))
        const { detail, seen } = await end((await start()).ImportTaskId)
        expect(detail?.StatusMessage).to.match(message)
        expect([detail?.Status, seen.at(-1)]).to.deep.equal(['deleted', 'deleted'])
        expect(world.snapshots.all()).to.deep.equal([])
        expect((await end((await start()).ImportTaskId)).detail?.Status).to.equal('completed')
      })
    }

    it('requires its role, an object and a format', async () => {
      faults.add(parseFault('import:no-role=1'))
      const role = await failure(start())
      expect([role.name, role.message.includes('service role vmimport')]).to.deep.equal(['InvalidParameter', true])
      expect((await failure(start({}, 'images/none.raw'))).name).to.equal('InvalidParameter')
      expect((await failure(start({}, 'images/a.raw', 'QCOW2'))).name).to.equal('InvalidParameterValue')
      expect(world.imports.size).to.equal(0)
    })
  })

  describe('RegisterImage', () => {
    const register = (SnapshotId: string, input: Partial<RegisterImageCommandInput> = {}) =>
      ec2.send(
        new RegisterImageCommand({
          Name: 'clawdinator-abc',
          Architecture: 'x86_64',
          VirtualizationType: 'hvm',
          EnaSupport: true,
          ImdsSupport: 'v2.0',
          BootMode: 'legacy-bios',
          RootDeviceName: '/dev/xvda',
          BlockDeviceMappings: [
            { DeviceName: '/dev/xvda', Ebs: { SnapshotId, VolumeType: 'gp3', DeleteOnTermination: true } },
          ],
          TagSpecifications: [{ ResourceType: 'image', Tags: [{ Key: 'digest', Value: 'abc' }] }],
          ...input,
        }),
      )
    const find = async (name: string, value: string) =>
      (await ec2.send(new DescribeImagesCommand({ Owners: ['self'], Filters: [{ Name: name, Values: [value] }] })))
        .Images ?? []

    it('registers an image that is available a moment later, and keeps its snapshot in use', async () => {
      const { id } = world.snapshots.add({ volumeSize: 3 })
      const later: (() => void)[] = []
      world.later = (work) => later.push(work)
      const { ImageId = '' } = await register(id)
      expect((await find('name', 'clawdinator-abc'))[0]?.State).to.equal('pending')
      for (const work of later) work()
      expect(world.images.get(ImageId)?.state).to.equal('available')
      const [image] = await find('tag:digest', 'abc')
      expect(image).to.deep.include({ ImageId, BootMode: 'legacy-bios', ImdsSupport: 'v2.0', EnaSupport: true })
      expect(image?.BlockDeviceMappings?.[0]?.Ebs).to.include({ SnapshotId: id, VolumeSize: 3, VolumeType: 'gp3' })
      expect((await failure(register(id))).name).to.equal('InvalidAMIName.Duplicate')
      const remove = new DeleteSnapshotCommand({ SnapshotId: id })
      expect((await failure(ec2.send(remove))).name).to.equal('InvalidSnapshot.InUse')
      await ec2.send(new DeregisterImageCommand({ ImageId }))
      expect((await failure(ec2.send(new DeregisterImageCommand({ ImageId })))).name).to.equal('InvalidAMIID.NotFound')
      await ec2.send(remove)
      expect((await failure(ec2.send(remove))).name).to.equal('InvalidSnapshot.NotFound')
    })

    it("refuses an image that can't boot", async () => {
      const whole = world.snapshots.add({ volumeSize: 3 }).id
      const pending = world.snapshots.add({ volumeSize: 3, timeoutMs: 60_000 }).id
      const code = async (snapshot: string, input: Partial<RegisterImageCommandInput> = {}) =>
        (await failure(register(snapshot, input))).name
      expect(await code(pending)).to.equal('IncorrectState')
      expect(await code('snap-0123456789abcdef0')).to.equal('InvalidSnapshot.NotFound')
      expect(await code(whole, { Name: 'a' })).to.equal('InvalidAMIName.Malformed')
      expect(await code(whole, { VirtualizationType: undefined })).to.equal('InvalidParameterValue')
      const Ebs = { SnapshotId: whole, VolumeSize: 2 }
      const BlockDeviceMappings = [{ DeviceName: '/dev/xvda', Ebs }]
      expect(await code(whole, { BlockDeviceMappings })).to.equal('InvalidBlockDeviceMapping')
      expect(world.images.size).to.equal(0)
    })

    it('deletes its snapshot on request', async () => {
      const { snapshotId, id: ImageId } = world.addImage({ name: 'old' })
      const answer = await ec2.send(new DeregisterImageCommand({ ImageId, DeleteAssociatedSnapshots: true }))
      expect(answer.DeleteSnapshotResults).to.deep.equal([{ SnapshotId: snapshotId, ReturnCode: 'success' }])
      expect(world.snapshots.get(snapshotId)).to.equal(null)
    })
  })

  it('DescribeSnapshots finds snapshots by tag, owner and status, in pages; tags can be added and removed', async () => {
    const ids = Array.from({ length: 7 }, (_, n) => world.snapshots.add({ volumeSize: n + 1 }).id)
    world.snapshots.add({ volumeSize: 1, timeoutMs: 60_000 })
    const Filters = [{ Name: 'status', Values: ['completed'] }]
    const seen: (string | undefined)[] = []
    for await (const page of paginateDescribeSnapshots({ client: ec2, pageSize: 5 }, { OwnerIds: ['self'], Filters })) {
      seen.push(...(page.Snapshots ?? []).map((s) => s.SnapshotId))
    }
    expect(seen).to.deep.equal(ids)
    const [first = ''] = ids
    const tagged = async () => {
      const query = new DescribeSnapshotsCommand({ Filters: [{ Name: 'tag:app', Values: ['clawdinator'] }] })
      return (await ec2.send(query)).Snapshots?.map((s) => s.SnapshotId)
    }
    await ec2.send(new CreateTagsCommand({ Resources: [first], Tags: [{ Key: 'app', Value: 'clawdinator' }] }))
    expect(await tagged()).to.deep.equal([first])
    await ec2.send(new DeleteTagsCommand({ Resources: [first], Tags: [{ Key: 'app', Value: 'other' }] }))
    expect(await tagged()).to.deep.equal([first])
    await ec2.send(new DeleteTagsCommand({ Resources: [first], Tags: [{ Key: 'app' }] }))
    expect(await tagged()).to.deep.equal([])
    expect((await ec2.send(new GetEbsEncryptionByDefaultCommand({}))).EbsEncryptionByDefault).to.equal(false)
  })

  it('runs a machine in its own security group, shows its console, and deletes the group at the end', async () => {
    const { id: ImageId } = world.addImage({ name: 'candidate', imdsSupport: 'v2.0' })
    const [subnet] = (await ec2.send(new DescribeSubnetsCommand({}))).Subnets ?? []
    const create = new CreateSecurityGroupCommand({ GroupName: 'smoke', Description: 'd', VpcId: subnet?.VpcId })
    const { GroupId = '' } = await ec2.send(create)
    expect((await failure(ec2.send(create))).name).to.equal('InvalidGroup.Duplicate')
    const IpPermissions = [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] }]
    await ec2.send(new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions }))
    const groups = await ec2.send(new DescribeSecurityGroupsCommand({ GroupIds: [GroupId] }))
    expect(groups.SecurityGroups?.[0]).to.deep.include({ GroupName: 'smoke', IpPermissionsEgress: [] })
    const run = (InstanceType: 't3.micro' | 't4g.micro') =>
      ec2.send(
        new RunInstancesCommand({
          ImageId,
          InstanceType,
          MinCount: 1,
          MaxCount: 1,
          NetworkInterfaces: [
            {
              DeviceIndex: 0,
              SubnetId: subnet?.SubnetId,
              Groups: [GroupId],
              AssociatePublicIpAddress: false,
              DeleteOnTermination: true,
            },
          ],
          MetadataOptions: { HttpTokens: 'required' },
        }),
      )
    expect((await failure(run('t4g.micro'))).message).to.include('architecture')
    const [machine] = (await run('t3.micro')).Instances ?? []
    expect(machine).to.deep.include({ SecurityGroups: [{ GroupId, GroupName: 'smoke' }] })
    expect(machine?.PublicIpAddress).to.equal(undefined)
    const InstanceId = machine?.InstanceId ?? ''
    await until(() => world.instances.get(InstanceId)?.checks === 'ok')
    const { Output = '' } = await ec2.send(new GetConsoleOutputCommand({ InstanceId, Latest: true }))
    expect(Buffer.from(Output, 'base64').toString()).to.include(BOOT_LINE)
    const remove = new DeleteSecurityGroupCommand({ GroupId })
    expect((await failure(ec2.send(remove))).name).to.equal('DependencyViolation')
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [InstanceId] }))
    await until(() => world.instances.get(InstanceId)?.state === 'terminated')
    await ec2.send(remove)
    expect((await failure(ec2.send(remove))).name).to.equal('InvalidGroup.NotFound')
  })

  it('host:mute and host:impaired: the machine prints nothing, or fails its checks', async () => {
    const { id: imageId } = world.addImage({ name: 'candidate' })
    for (const [fault, checks] of [
      ['host:mute', 'ok'],
      ['host:impaired', 'impaired'],
    ] as const) {
      const takeBack = faults.add(parseFault(fault))
      const machine = world.launch({ imageId, instanceType: 't3.micro' })
      await until(() => machine.checks === checks)
      expect(machine.console).not.to.include(BOOT_LINE)
      takeBack()
    }
  })
})
