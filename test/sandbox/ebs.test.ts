import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CompleteSnapshotCommand,
  type CompleteSnapshotCommandInput,
  EBSClient,
  GetSnapshotBlockCommand,
  ListChangedBlocksCommand,
  ListSnapshotBlocksCommand,
  PutSnapshotBlockCommand,
  type PutSnapshotBlockCommandInput,
  StartSnapshotCommand,
  type StartSnapshotCommandInput,
} from '@aws-sdk/client-ebs'
import { expect } from 'chai'
import { ebsEndpoint } from '../../sandbox/aws/ebs.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import type { Endpoint, LoggedRequest } from '../../sandbox/http.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { eagerRetries, failure } from './awsSupport.js'

const BLOCK = 512 * 1024

describe('sandbox: EBS direct', () => {
  let folder: string
  let now: Date
  let world: World
  let faults: Faults
  let log: LoggedRequest[]
  let endpoint: Endpoint
  let ebs: EBSClient
  let retried: string[]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-test-'))
    now = new Date()
    world = new World({ folder, now: () => now })
    faults = new Faults([], () => now)
    log = []
    retried = []
    endpoint = await ebsEndpoint(world, { faults, accessKeyId: 'AKIA', log: (line) => log.push(line) })
    ebs = client('AKIA')
  })
  afterEach(async () => {
    ebs.destroy()
    await endpoint.close()
    await world.close()
    await rm(folder, { recursive: true })
  })

  const client = (accessKeyId: string) =>
    new EBSClient({
      endpoint: endpoint.url,
      region: world.region,
      credentials: { accessKeyId, secretAccessKey: 'not verified' },
      retryStrategy: eagerRetries(retried) as never,
    })
  const block = (byte: number) => Buffer.alloc(BLOCK, byte)
  const sha256 = (...parts: Buffer[]) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  const start = (input: Partial<StartSnapshotCommandInput> = {}) =>
    ebs.send(new StartSnapshotCommand({ VolumeSize: 1, ...input }))
  const started = async (input: Partial<StartSnapshotCommandInput> = {}) => (await start(input)).SnapshotId as string
  const put = (
    SnapshotId: string,
    BlockIndex: number,
    data: Buffer,
    extra: Partial<PutSnapshotBlockCommandInput> = {},
  ) =>
    ebs.send(
      new PutSnapshotBlockCommand({
        SnapshotId,
        BlockIndex,
        BlockData: data,
        DataLength: data.length,
        Checksum: sha256(data).toString('base64'),
        ChecksumAlgorithm: 'SHA256',
        ...extra,
      }),
    )
  const complete = (
    SnapshotId: string,
    ChangedBlocksCount: number,
    extra: Partial<CompleteSnapshotCommandInput> = {},
  ) => ebs.send(new CompleteSnapshotCommand({ SnapshotId, ChangedBlocksCount, ...extra }))
  async function completed(blocks: Record<number, number>, input: Partial<StartSnapshotCommandInput> = {}) {
    const id = await started(input)
    for (const [index, byte] of Object.entries(blocks)) await put(id, Number(index), block(byte))
    await complete(id, Object.keys(blocks).length)
    while (world.snapshots.get(id)?.state !== 'completed') await new Promise((resolve) => setTimeout(resolve, 5))
    return id
  }
  const reason = async (promise: Promise<unknown>) => {
    const error = await promise.then(
      () => ({ name: 'none' }),
      (e: { name: string; Reason?: string }) => e,
    )
    return 'Reason' in error && error.Reason !== undefined ? `${error.name} ${error.Reason}` : error.name
  }

  it('accepts blocks in any order, completes by count and linear checksum, and returns the blocks', async () => {
    const answer = await start({ Tags: [{ Key: 'a', Value: 'b' }], Description: 'd', ClientToken: 't' })
    expect(answer).to.deep.include({ Status: 'pending', VolumeSize: 1, BlockSize: BLOCK, OwnerId: world.accountId })
    expect(answer.StartTime).to.be.a('date')
    const id = answer.SnapshotId as string
    for (const [index, byte] of [
      [2047, 9],
      [3, 1],
      [3, 2],
    ] as const) {
      expect((await put(id, index, block(byte))).Checksum).to.equal(sha256(block(byte)).toString('base64'))
    }
    const checksum = (...bytes: number[]): Partial<CompleteSnapshotCommandInput> => ({
      Checksum: sha256(...bytes.map((byte) => sha256(block(byte)))).toString('base64'),
      ChecksumAlgorithm: 'SHA256',
      ChecksumAggregationMethod: 'LINEAR',
    })
    expect(await reason(complete(id, 3))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
    expect(await reason(complete(id, 2, checksum(9, 2)))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
    expect((await complete(id, 2, checksum(2, 9))).Status).to.equal('pending')
    expect(await reason(put(id, 4, block(4)))).to.equal('ValidationException INVALID_SNAPSHOT_ID')
    while ((await complete(id, 2)).Status !== 'completed') await new Promise((resolve) => setTimeout(resolve, 5))

    const list = await ebs.send(new ListSnapshotBlocksCommand({ SnapshotId: id }))
    expect(list.Blocks?.map((b) => b.BlockIndex)).to.deep.equal([3, 2047])
    expect(list).to.include({ VolumeSize: 1, BlockSize: BLOCK }).and.not.to.have.property('NextToken')
    const [{ BlockToken } = {}] = list.Blocks ?? []
    const got = await ebs.send(new GetSnapshotBlockCommand({ SnapshotId: id, BlockIndex: 3, BlockToken }))
    expect(Buffer.from((await got.BlockData?.transformToByteArray()) ?? []).equals(block(2))).to.equal(true)
    expect(got.Checksum).to.equal(sha256(block(2)).toString('base64'))
    const other = ebs.send(new GetSnapshotBlockCommand({ SnapshotId: id, BlockIndex: 2047, BlockToken }))
    expect(await reason(other)).to.equal('ValidationException INVALID_BLOCK_TOKEN')
    // the file is as sparse as the image
    const [file = ''] = await readdir(folder)
    expect((await stat(join(folder, file))).blocks * 512).to.be.below(3 * BLOCK)
    expect((await world.snapshots.read(world.snapshots.get(id) as never, 4)).equals(block(0))).to.equal(true)
  })

  it('refuses an invalid block', async () => {
    const id = await started()
    const data = block(1)
    const short = data.subarray(1)
    expect(await reason(put(id, 2048, data))).to.equal('ValidationException INVALID_BLOCK')
    expect(await reason(put(id, 0, short))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
    expect(await reason(put(id, 0, short, { DataLength: BLOCK }))).to.equal('ValidationException INVALID_BLOCK')
    const Checksum = sha256(short).toString('base64')
    expect(await reason(put(id, 0, data, { Checksum }))).to.equal('ValidationException INVALID_BLOCK')
    expect(await reason(put('snap-0123456789abcdef0', 0, data))).to.equal(
      'ResourceNotFoundException SNAPSHOT_NOT_FOUND',
    )
    faults.add(parseFault('ebs:corrupt=1'))
    expect(await reason(put(id, 0, block(1)))).to.equal('ValidationException INVALID_BLOCK')
    expect(world.snapshots.get(id)?.blocks.digests.size).to.equal(0)
    await put(id, 0, data)
    expect((await complete(id, 1)).Status).to.equal('pending')
  })

  it('returns one snapshot for one client token, and refuses invalid starts', async () => {
    const id = await started({ ClientToken: 'x' })
    expect(await started({ ClientToken: 'x' })).to.equal(id)
    expect(await failure(start({ ClientToken: 'x', VolumeSize: 2 }))).to.include({
      name: 'ConflictException',
      status: 409,
    })
    expect(await reason(start({ VolumeSize: 0 }))).to.equal('ValidationException INVALID_VOLUME_SIZE')
    expect(await reason(start({ VolumeSize: 65_537 }))).to.equal('ValidationException INVALID_VOLUME_SIZE')
    expect(await reason(start({ Timeout: 9 }))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
    expect(await reason(start({ ParentSnapshotId: id }))).to.equal('ValidationException INVALID_SNAPSHOT_ID')
    expect(await reason(start({ ParentSnapshotId: 'snap-0123' }))).to.equal(
      'ResourceNotFoundException SNAPSHOT_NOT_FOUND',
    )
    for (let n = 1; n < 100; n++) world.snapshots.add({ volumeSize: 1, timeoutMs: 60_000 })
    expect(await reason(start())).to.equal('ServiceQuotaExceededException DEPENDENCY_SERVICE_QUOTA_EXCEEDED')
  })

  it("returns blocks of the parent that a child lacks, also after the parent's deletion", async () => {
    const parent = await completed({ 0: 1, 5: 5 })
    expect(await reason(start({ ParentSnapshotId: parent, Encrypted: false }))).to.include('INVALID_PARAMETER_VALUE')
    const child = await completed({ 5: 6, 7: 7 }, { ParentSnapshotId: parent, VolumeSize: 2 })
    expect(await reason(start({ ParentSnapshotId: child }))).to.equal('ValidationException INVALID_VOLUME_SIZE')
    const changed = await ebs.send(new ListChangedBlocksCommand({ FirstSnapshotId: parent, SecondSnapshotId: child }))
    expect(changed.ChangedBlocks?.map((b) => b.BlockIndex)).to.deep.equal([5, 7])
    const other = await completed({ 0: 1 })
    const unrelated = ebs.send(new ListChangedBlocksCommand({ FirstSnapshotId: other, SecondSnapshotId: child }))
    expect(await reason(unrelated)).to.equal('ValidationException UNRELATED_SNAPSHOTS')
    await world.snapshots.delete(parent)
    const snapshot = world.snapshots.get(child)
    if (!snapshot) throw new Error('the child is gone')
    const first = (index: number) => world.snapshots.read(snapshot, index).then((b) => b[0])
    expect([await first(0), await first(5), await first(6), await first(7)]).to.deep.equal([1, 6, 0, 7])
    await world.snapshots.delete(child)
    await world.snapshots.delete(other)
    expect(await readdir(folder)).to.deep.equal([])
  })

  it('encrypts on request or by default; unwritten blocks are then noise', async () => {
    const id = await started({ Encrypted: true, KmsKeyArn: 'arn:aws:kms:eu-central-1:000000000000:key/k' })
    const snapshot = world.snapshots.get(id)
    if (!snapshot) throw new Error('it is gone')
    expect((await world.snapshots.read(snapshot, 0)).equals(block(0))).to.equal(false)
    const plain = await completed({ 0: 1 })
    faults.add(parseFault('ebs:encrypted'))
    expect((await start()).KmsKeyArn).to.match(/alias\/aws\/ebs$/)
    expect(await reason(start({ ParentSnapshotId: plain }))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
  })

  it('expires a snapshot that gets no block within its timeout', async () => {
    const id = await started({ Timeout: 10 })
    now = new Date(now.getTime() + 9 * 60_000)
    await put(id, 0, block(1))
    now = new Date(now.getTime() + 9 * 60_000)
    await put(id, 1, block(1))
    now = new Date(now.getTime() + 11 * 60_000)
    expect(await reason(put(id, 2, block(1)))).to.equal('ValidationException INVALID_SNAPSHOT_ID')
    expect(world.snapshots.get(id)?.state).to.equal('error')
    expect(await reason(complete(id, 2))).to.equal('ValidationException INVALID_SNAPSHOT_ID')
  })

  it('returns pages by index', async () => {
    const { blocks, id: SnapshotId } = world.snapshots.add({ volumeSize: 1 })
    for (let n = 0; n < 250; n++) blocks.digests.set(n * 2, Buffer.alloc(32))
    const list = async (extra: object) =>
      ebs.send(new ListSnapshotBlocksCommand({ SnapshotId, MaxResults: 100, ...extra }))
    const first = await list({ StartingBlockIndex: 3 })
    const second = await list({ NextToken: first.NextToken })
    const third = await list({ NextToken: second.NextToken })
    expect([first, second, third].map((p) => [p.Blocks?.length, p.Blocks?.[0]?.BlockIndex])).to.deep.equal([
      [100, 4],
      [100, 204],
      [48, 404],
    ])
    expect(third.NextToken).to.equal(undefined)
    expect(await reason(list({ MaxResults: 99 }))).to.equal('ValidationException INVALID_PARAMETER_VALUE')
    expect(await reason(list({ NextToken: '!' }))).to.equal('ValidationException INVALID_PAGE_TOKEN')
  })

  it('throttles, fails, resets and expires by its faults, and has a quota', async () => {
    const id = await started()
    for (const [fault, kind] of [
      ['ebs:throttle=2', 'THROTTLING'],
      ['ebs:error=2', 'TRANSIENT'],
      ['ebs:reset=2', 'TRANSIENT'],
    ] as const) {
      retried.length = 0
      faults.add(parseFault(fault))
      await put(id, 0, block(1))
      expect(retried, fault).to.deep.equal([kind, kind])
    }
    faults.add(parseFault('ebs:expired=1'))
    expect(await failure(put(id, 0, block(1)))).to.include({ name: 'ExpiredTokenException', status: 403 })
    faults.add(parseFault('ebs:quota=3'))
    const many = await Promise.all(Array.from({ length: 8 }, () => reason(put(id, 1, block(1)))))
    expect(many.sort()).to.deep.equal([
      ...Array(5).fill('RequestThrottledException ACCOUNT_THROTTLED'),
      ...Array(3).fill('none'),
    ])
    now = new Date(now.getTime() + 1000)
    expect(await reason(put(id, 1, block(1)))).to.equal('none')
  })

  it('accepts a request and never answers', async () => {
    faults.add(parseFault('ebs:hang=1'))
    const abort = new AbortController()
    const hung = ebs.send(new StartSnapshotCommand({ VolumeSize: 1 }), { abortSignal: abort.signal })
    while (!log.some((line) => line.status === 'hang')) await new Promise((resolve) => setTimeout(resolve, 5))
    abort.abort()
    expect((await failure(hung)).name).to.equal('AbortError')
    expect(world.snapshots.all()).to.deep.equal([])
  })

  it('accepts only one access key', async () => {
    const other = client('AKIASTRANGER')
    const denied = await failure(other.send(new StartSnapshotCommand({ VolumeSize: 1 })))
    expect(denied).to.include({ name: 'UnrecognizedClientException', status: 403 })
    other.destroy()
  })
})
