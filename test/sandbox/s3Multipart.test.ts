import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { expect } from 'chai'
import { type ChecksumName, checksumOf } from '../../sandbox/aws/checksums.js'
import { s3Endpoint } from '../../sandbox/aws/s3.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import type { Endpoint } from '../../sandbox/http.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { eagerRetries, failure } from './awsSupport.js'

const MIB = 1024 * 1024
const Bucket = 'fleet'
const Key = 'images/a.raw'
const FIRST = randomBytes(5 * MIB)
const LAST = randomBytes(300 * 1024)

describe('sandbox: S3 multipart', () => {
  let folder: string
  let world: World
  let faults: Faults
  let endpoint: Endpoint
  let s3: S3Client

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-test-'))
    world = new World({ folder })
    world.createBucket(Bucket)
    faults = new Faults()
    endpoint = await s3Endpoint(world, { faults, accessKeyId: 'AKIA' })
    s3 = client(world.region)
  })
  afterEach(async () => {
    for (const upload of [...world.uploads.values()]) await world.endUpload(upload)
    for (const key of [...world.bucket(Bucket).keys()]) await world.deleteObject(Bucket, key)
  })
  after(async () => {
    s3.destroy()
    await endpoint.close()
    await rm(folder, { recursive: true })
  })

  const client = (region: string) =>
    new S3Client({
      endpoint: endpoint.url,
      region,
      forcePathStyle: true,
      credentials: { accessKeyId: 'AKIA', secretAccessKey: 'not verified' },
      retryStrategy: eagerRetries([]),
    })
  const start = async (input: Partial<CreateMultipartUploadCommandInput> = {}) =>
    (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }))).UploadId as string
  const send = (UploadId: string, PartNumber: number, Body: Buffer, extra: object = {}) =>
    s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...extra }))
  const complete = (
    UploadId: string,
    Parts: { PartNumber: number; ETag?: string | undefined }[],
    extra: Partial<CompleteMultipartUploadCommandInput> = {},
  ) => s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...extra }))
  const part = (PartNumber: number, { ETag, ChecksumCRC32 }: { ETag?: string; ChecksumCRC32?: string }) => ({
    PartNumber,
    ETag,
    ChecksumCRC32,
  })
  async function sendBoth(id: string, extra: object = {}) {
    // the later one first: parts come in any order
    const last = await send(id, 9, LAST, extra)
    return [part(2, await send(id, 2, FIRST, extra)), part(9, last)]
  }
  const files = () => readdir(folder)

  it('joins the parts in order, with properties, a composite checksum and an entity tag of the parts', async () => {
    const id = await start({ Metadata: { sha256: 'abc' }, ServerSideEncryption: 'aws:kms', ChecksumAlgorithm: 'CRC32' })
    const done = await complete(id, await sendBoth(id))
    const sums = Buffer.concat([FIRST, LAST].map((b) => Buffer.from(checksumOf('crc32', b), 'base64')))
    expect(done.ChecksumCRC32).to.equal(`${checksumOf('crc32', sums)}-2`)
    expect(done.ETag).to.match(/^"[0-9a-f]{32}-2"$/)
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
    expect(head).to.deep.include({
      ContentLength: FIRST.length + LAST.length,
      ETag: done.ETag,
      Metadata: { sha256: 'abc' },
      ServerSideEncryption: 'aws:kms',
      ChecksumCRC32: done.ChecksumCRC32,
      ChecksumType: 'COMPOSITE',
    })
    const whole = await s3.send(new GetObjectCommand({ Bucket, Key }))
    expect(Buffer.concat([FIRST, LAST]).equals((await whole.Body?.transformToByteArray()) ?? Buffer.alloc(0))).to.equal(
      true,
    )
    // across the border of two parts, which are in separate files
    const Range = `bytes=${FIRST.length - 3}-${FIRST.length + 1}`
    const range = await (await s3.send(new GetObjectCommand({ Bucket, Key, Range }))).Body?.transformToByteArray()
    expect(Buffer.from(range ?? [])).to.deep.equal(Buffer.concat([FIRST.subarray(-3), LAST.subarray(0, 2)]))
    expect(await files()).to.have.length(2)
    await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    expect(await files()).to.deep.equal([])
  })

  it('copies a range of another object as a part, without another file', async () => {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: Buffer.concat([FIRST, LAST]) }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'small', Body: LAST }))
    const id = await start({ ChecksumAlgorithm: 'SHA256' })
    const copy = async (PartNumber: number, key: string, range: string) =>
      (
        await s3.send(
          new UploadPartCopyCommand({
            ...{ Bucket, Key, UploadId: id, PartNumber },
            ...{ CopySource: `${Bucket}/${key}`, CopySourceRange: `bytes=${range}` },
          }),
        )
      ).CopyPartResult
    for (const [key, range] of [
      ['small', '0-9'],
      ['source', `0-${FIRST.length + LAST.length}`],
    ] as const) {
      expect(await failure(copy(1, key, range))).to.include({ status: 400 })
    }
    const behind = Buffer.concat([FIRST, LAST]).subarray(7)
    const copies = [
      await copy(1, 'source', `0-${FIRST.length - 1}`),
      await copy(2, 'source', `0-${FIRST.length - 1}`),
      await copy(3, 'source', `7-${FIRST.length + LAST.length - 1}`),
    ]
    expect(copies.map((one) => one?.ChecksumSHA256)).to.deep.equal(
      [FIRST, FIRST, behind].map((bytes) => checksumOf('sha256', bytes)),
    )
    expect(await files()).to.have.length(2)
    const parts = copies.map((one, i) => ({ ...one, PartNumber: i + 1 }))
    await complete(id, parts)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'source' }))
    expect(world.getObject(Bucket, Key)?.body.equals(Buffer.concat([FIRST, FIRST, behind]))).to.equal(true)
    await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    expect(await files()).to.have.length(1)
  })

  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME'] as const) {
    it(`computes the whole object's ${ChecksumAlgorithm} from those of the parts`, async () => {
      const id = await start({ ChecksumAlgorithm, ChecksumType: 'FULL_OBJECT' })
      const parts = await sendBoth(id, { ChecksumAlgorithm })
      const name = ChecksumAlgorithm.toLowerCase() as ChecksumName
      const right = checksumOf(name, Buffer.concat([FIRST, LAST]))
      const field = `Checksum${ChecksumAlgorithm}`
      const wrong = complete(id, parts, { [field]: checksumOf(name, LAST), ChecksumType: 'FULL_OBJECT' })
      expect(await failure(wrong)).to.include({ name: 'BadDigest', status: 400 })
      const done = await complete(id, parts, { [field]: right, ChecksumType: 'FULL_OBJECT' })
      expect(done).to.include({ [field]: right, ChecksumType: 'FULL_OBJECT' })
    })
  }

  it('refuses missing, different, small or unordered parts', async () => {
    const id = await start()
    const [two, nine] = (await sendBoth(id)) as [ReturnType<typeof part>, ReturnType<typeof part>]
    const code = async (...parts: ReturnType<typeof part>[]) => (await failure(complete(id, parts))).name
    expect(await code(two, { ...nine, PartNumber: 8 })).to.equal('InvalidPart')
    expect(await code(two, { ...nine, ETag: two.ETag })).to.equal('InvalidPart')
    expect(await code(nine, two)).to.equal('InvalidPartOrder')
    const ten = part(10, await send(id, 10, LAST))
    expect(await code(two, nine, ten)).to.equal('EntityTooSmall')
    expect(await code()).to.equal('MalformedXML')
    expect((await failure(send(id, 10_001, LAST))).name).to.equal('InvalidArgument')
    await complete(id, [two, nine])
    // the unnamed part is removed with the upload
    expect(await files()).to.have.length(2)
    expect(await failure(complete(id, [two, nine]))).to.include({ name: 'NoSuchUpload', status: 404 })
  })

  it('obeys If-None-Match, and keeps the refused upload', async () => {
    const id = await start()
    const parts = [part(1, await send(id, 1, LAST))]
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'first' }))
    expect(await failure(complete(id, parts, { IfNoneMatch: '*' }))).to.include({
      name: 'PreconditionFailed',
      status: 412,
    })
    await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    await complete(id, parts, { IfNoneMatch: '*' })
    expect(world.getObject(Bucket, Key)?.body.equals(LAST)).to.equal(true)
  })

  it('lists parts and uploads in pages; an abort leaves nothing', async () => {
    const id = await start()
    for (const number of [3, 1, 2]) await send(id, number, LAST)
    const seen: (number | undefined)[] = []
    // without paginateListParts, which never ends, because S3 returns a marker on the last page too
    let marker: string | undefined
    for (let more: boolean | undefined = true; more; ) {
      const next = new ListPartsCommand({ Bucket, Key, UploadId: id, MaxParts: 2, PartNumberMarker: marker })
      const page = await s3.send(next)
      seen.push(...(page.Parts ?? []).map((p) => p.PartNumber))
      marker = page.NextPartNumberMarker
      more = page.IsTruncated
    }
    expect(seen).to.deep.equal([1, 2, 3])
    const other = await start({ Key: 'images/b.raw' })
    await start({ Key: 'elsewhere' })
    const first = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'images/', MaxUploads: 1 }))
    expect([first.Uploads?.[0]?.UploadId, first.IsTruncated]).to.deep.equal([id, true])
    const second = await s3.send(
      new ListMultipartUploadsCommand({
        Bucket,
        Prefix: 'images/',
        KeyMarker: first.NextKeyMarker,
        UploadIdMarker: first.NextUploadIdMarker,
      }),
    )
    expect([second.Uploads?.map((u) => u.UploadId), second.IsTruncated]).to.deep.equal([[other], false])
    const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id })
    await s3.send(abort)
    expect((await failure(s3.send(abort))).name).to.equal('NoSuchUpload')
    expect((await failure(send(id, 1, LAST))).name).to.equal('NoSuchUpload')
    expect(await files()).to.deep.equal([])
  })

  it('detects a damaged part, and reports another region and expired credentials', async () => {
    const id = await start({ ChecksumAlgorithm: 'CRC32' })
    faults.add(parseFault('s3:corrupt=1'))
    expect(await failure(send(id, 1, LAST))).to.include({ name: 'BadDigest', status: 400 })
    expect(await files()).to.deep.equal([])
    expect((await send(id, 1, LAST)).ChecksumCRC32).to.equal(checksumOf('crc32', LAST))
    const elsewhere = client('us-east-1')
    const redirect = await failure(elsewhere.send(new HeadObjectCommand({ Bucket, Key })))
    expect(redirect.status).to.equal(301)
    elsewhere.destroy()
    faults.add(parseFault('s3:expired@1=1'))
    await send(id, 2, LAST)
    expect(await failure(send(id, 3, LAST))).to.include({ name: 'ExpiredToken', status: 400 })
  })

  it('leaves nothing of an interrupted upload of a part', async () => {
    const request = (await import('node:http')).request(`${endpoint.url}/${Bucket}/cut`, {
      method: 'PUT',
      headers: {
        authorization: `AWS4-HMAC-SHA256 Credential=AKIA/20261101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}`,
        'content-length': MIB,
      },
    })
    request.on('error', () => {})
    await new Promise<void>((resolve) => request.write(randomBytes(600 * 1024), () => resolve()))
    while ((await files()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    request.destroy()
    while ((await files()).length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(world.getObject(Bucket, 'cut')).to.equal(null)
  })
})
