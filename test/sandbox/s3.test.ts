import { createHash } from 'node:crypto'
import http from 'node:http'
import { Readable } from 'node:stream'
import {
  type ChecksumAlgorithm,
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import { expect } from 'chai'
import { CHECKSUM_NAMES, checksumOf } from '../../sandbox/aws/checksums.js'
import { s3Endpoint } from '../../sandbox/aws/s3.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import type { Endpoint, LoggedRequest } from '../../sandbox/http.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { eagerRetries, failure } from './awsSupport.js'

const KEY = 'AKIASANDBOX'
const Bucket = 'fleet'

describe('sandbox: S3', () => {
  let world: World
  let faults: Faults
  let endpoint: Endpoint
  let log: LoggedRequest[]
  let s3: S3Client
  let retried: string[]

  beforeEach(async () => {
    world = new World()
    world.createBucket(Bucket)
    faults = new Faults()
    log = []
    retried = []
    endpoint = await s3Endpoint(world, { faults, accessKeyId: KEY, log: (line) => log.push(line) })
    s3 = client()
  })
  afterEach(async () => {
    s3.destroy()
    await endpoint.close()
  })

  function client(accessKeyId = KEY): S3Client {
    const credentials = { accessKeyId, secretAccessKey: 'not verified' }
    const retryStrategy = eagerRetries(retried)
    // the SDK warns of every streamed body
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    return new S3Client({ endpoint: endpoint.url, region: world.region, credentials, retryStrategy, logger })
  }
  const put = (input: Omit<PutObjectCommandInput, 'Bucket'>) => s3.send(new PutObjectCommand({ Bucket, ...input }))
  const get = (input: Omit<GetObjectCommandInput, 'Bucket'>) => s3.send(new GetObjectCommand({ Bucket, ...input }))
  const text = async (input: Omit<GetObjectCommandInput, 'Bucket'>) => (await get(input)).Body?.transformToString()

  /** A request with a Host header, which fetch would not allow. */
  function raw(method: string, path: string, headers: Record<string, string>, body = ''): Promise<[number, string]> {
    const scope = `${KEY}/20261101/eu-central-1/s3/aws4_request`
    const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=${'0'.repeat(64)}`
    return new Promise((resolve, reject) => {
      const request = http.request(
        endpoint.url + path,
        { method, headers: { authorization, ...headers } },
        async (r) => {
          const chunks: Buffer[] = []
          for await (const chunk of r) chunks.push(Buffer.from(chunk))
          resolve([r.statusCode ?? 0, Buffer.concat(chunks).toString()])
        },
      )
      request.on('error', reject)
      request.end(body)
    })
  }

  describe('PutObject and GetObject', () => {
    it('keep body, type, metadata, encryption and checksum, under any key', async () => {
      for (const Key of ['a b/ü+&<>%2F.txt', 'x//y', 'trailing/', '日本/🦞']) {
        const { ETag } = await put({
          Key,
          Body: `body of ${Key}`,
          ContentType: 'text/plain; charset=utf-8',
          Metadata: { digest: 'abc', by: 'clawctl' },
          ServerSideEncryption: 'aws:kms',
          SSEKMSKeyId: 'alias/clawdinator',
        })
        expect(world.getObject(Bucket, Key)?.body.toString()).to.equal(`body of ${Key}`)
        const got = await get({ Key })
        expect(await got.Body?.transformToString()).to.equal(`body of ${Key}`)
        expect(got).to.deep.include({
          ETag,
          ContentType: 'text/plain; charset=utf-8',
          ContentLength: Buffer.byteLength(`body of ${Key}`),
          Metadata: { digest: 'abc', by: 'clawctl' },
          ServerSideEncryption: 'aws:kms',
          SSEKMSKeyId: 'alias/clawdinator',
          ChecksumCRC32: checksumOf('crc32', Buffer.from(`body of ${Key}`)),
        })
      }
      expect((await put({ Key: 'plain', Body: '' })).ServerSideEncryption).to.equal('AES256')
      expect(await text({ Key: 'plain' })).to.equal('')
    })

    it('read streams in aws-chunked frames with a trailing checksum', async () => {
      const body = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n % 251))
      const pieces = [body.subarray(0, 70_000), body.subarray(70_000, 70_001), body.subarray(70_001)]
      await put({ Key: 'stream', Body: Readable.from(pieces), ContentLength: body.length })
      const object = world.getObject(Bucket, 'stream')
      expect(object?.body.equals(body)).to.equal(true)
      expect([...(object?.checksums ?? [])]).to.deep.equal([['crc32', checksumOf('crc32', body)]])
      expect(log.at(-1)?.status).to.equal(200)
    })

    it('verify every checksum that S3 supports', async () => {
      // the check values of the CRC catalogue for "123456789"
      const known = { crc32: 'cbf43926', crc32c: 'e3069283', crc64nvme: 'ae8b14860a799888' }
      for (const name of CHECKSUM_NAMES) {
        const right = checksumOf(name, Buffer.from('123456789'))
        if (name in known) {
          expect(Buffer.from(right, 'base64').toString('hex')).to.equal(known[name as keyof typeof known])
        }
        const header = `x-amz-checksum-${name}`
        expect((await raw('PUT', `/${Bucket}/${name}`, { [header]: right }, '123456789'))[0]).to.equal(200)
        const [status, xml] = await raw('PUT', `/${Bucket}/wrong`, { [header]: right }, '123456780')
        expect([status, xml.includes('<Code>BadDigest</Code>')], name).to.deep.equal([400, true])
      }
      expect(world.getObject(Bucket, 'wrong')).to.equal(null)
      for (const ChecksumAlgorithm of ['SHA256', 'CRC32C'] satisfies ChecksumAlgorithm[]) {
        const sent = await put({ Key: 'sdk', Body: 'hello', ChecksumAlgorithm })
        expect(await text({ Key: 'sdk' })).to.equal('hello')
        expect(sent[`Checksum${ChecksumAlgorithm}`]).to.be.a('string')
      }
    })

    it('refuse a body that does not match its digest or length', async () => {
      const wrong = createHash('sha256').update('other').digest()
      const checksum = failure(put({ Key: 'k', Body: 'hello', ChecksumSHA256: wrong.toString('base64') }))
      expect(await checksum).to.include({ name: 'BadDigest', status: 400 })
      const md5 = failure(put({ Key: 'k', Body: 'hello', ContentMD5: Buffer.alloc(16).toString('base64') }))
      expect((await md5).name).to.equal('BadDigest')
      const code = async (headers: Record<string, string>, body: string) => {
        const [, xml] = await raw('PUT', `/${Bucket}/k`, headers, body)
        return /<Code>(\w+)<\/Code>/.exec(xml)?.[1]
      }
      const streaming = {
        'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        'x-amz-trailer': 'x-amz-checksum-crc32',
        'x-amz-decoded-content-length': '5',
      }
      const sum = checksumOf('crc32', Buffer.from('hello'))
      const framed = (data: string, trailer: string) => `5\r\n${data}\r\n0\r\n${trailer}\r\n`
      expect(await code({ 'x-amz-content-sha256': wrong.toString('hex') }, 'hello')).to.equal(
        'XAmzContentSHA256Mismatch',
      )
      expect(await code(streaming, framed('hellO', `x-amz-checksum-crc32:${sum}\r\n`))).to.equal('BadDigest')
      expect(await code(streaming, framed('hello', ''))).to.equal('MalformedTrailerError')
      expect(
        await code(
          { ...streaming, 'x-amz-decoded-content-length': '6' },
          framed('hello', `x-amz-checksum-crc32:${sum}\r\n`),
        ),
      ).to.equal('IncompleteBody')
      expect(await code(streaming, '50\r\nhello')).to.equal('IncompleteBody')
      expect(world.getObject(Bucket, 'k')).to.equal(null)
      expect(await code(streaming, framed('hello', `x-amz-checksum-crc32:${sum}\r\n`))).to.equal(undefined)
      expect(await text({ Key: 'k' })).to.equal('hello')
    })

    it('obey If-None-Match and If-Match for writes', async () => {
      const first = await put({ Key: 'k', Body: 'one', IfNoneMatch: '*' })
      const again = await failure(put({ Key: 'k', Body: 'two', IfNoneMatch: '*' }))
      expect(again).to.include({ name: 'PreconditionFailed', status: 412 })
      const second = await put({ Key: 'k', Body: 'two', IfMatch: first.ETag })
      expect((await failure(put({ Key: 'k', Body: 'three', IfMatch: first.ETag }))).name).to.equal('PreconditionFailed')
      expect(await text({ Key: 'k' })).to.equal('two')
      const missing = await failure(put({ Key: 'none', Body: 'x', IfMatch: second.ETag }))
      expect(missing).to.include({ name: 'NoSuchKey', status: 404 })
    })

    it('obey If-None-Match, If-Match and Range for reads', async () => {
      const { ETag } = await put({ Key: 'k', Body: '0123456789' })
      expect((await failure(get({ Key: 'k', IfNoneMatch: ETag }))).status).to.equal(304)
      expect(await text({ Key: 'k', IfNoneMatch: '"other"' })).to.equal('0123456789')
      expect(await failure(get({ Key: 'k', IfMatch: '"other"' }))).to.include({ status: 412 })
      const part = await get({ Key: 'k', Range: 'bytes=2-4' })
      expect(part).to.deep.include({ ContentRange: 'bytes 2-4/10', ContentLength: 3 })
      expect(await part.Body?.transformToString()).to.equal('234')
      expect(await text({ Key: 'k', Range: 'bytes=-3' })).to.equal('789')
      expect(await text({ Key: 'k', Range: 'bytes=8-99' })).to.equal('89')
      const beyond = await failure(get({ Key: 'k', Range: 'bytes=10-' }))
      expect(beyond).to.include({ name: 'InvalidRange', status: 416 })
    })
  })

  it('HeadObject answers like GetObject, without the body', async () => {
    const { ETag } = await put({ Key: 'k', Body: 'hello', Metadata: { a: '1' } })
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }))
    expect(head).to.deep.include({ ETag, ContentLength: 5, Metadata: { a: '1' }, ChecksumCRC32: 'NhCmhg==' })
    expect(head.LastModified).to.be.a('date')
    const missing = await failure(s3.send(new HeadObjectCommand({ Bucket, Key: 'none' })))
    expect(missing).to.include({ name: 'NotFound', status: 404 })
  })

  it('DeleteObject and DeleteObjects delete, and accept missing objects', async () => {
    for (const key of ['a&<b', 'c', 'd', 'e', 'keep']) world.putObject(Bucket, key, 'x')
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'c' }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'c' }))
    const Objects = [{ Key: 'a&<b' }, { Key: 'd' }, { Key: 'none' }]
    const { Deleted, Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
    expect(Deleted).to.deep.equal(Objects)
    expect(Errors).to.equal(undefined)
    const Delete = { Objects: [{ Key: 'e' }], Quiet: true }
    expect((await s3.send(new DeleteObjectsCommand({ Bucket, Delete }))).Deleted).to.equal(undefined)
    expect([...world.bucket(Bucket).keys()]).to.deep.equal(['keep'])
    const versioned = new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'keep', VersionId: '1' }] } })
    expect(await failure(s3.send(versioned))).to.include({ name: 'NotImplemented', status: 501 })
    expect((await raw('POST', `/${Bucket}?delete`, {}, '<Delete></Delete>'))[1]).to.include('InvalidRequest')
    const md5 = createHash('md5').update('<Delete></Delete>').digest('base64')
    const empty = await raw('POST', `/${Bucket}?delete`, { 'content-md5': md5 }, '<Delete></Delete>')
    expect(empty[1]).to.include('MalformedXML')
    expect(world.getObject(Bucket, 'keep')).not.to.equal(null)
  })

  describe('ListObjectsV2', () => {
    beforeEach(() => {
      for (const key of ['b/2', 'b/1', 'a', 'b/sub/x', 'ﬀ', '🦞', 'c/y', 'c/z', 'd&']) world.putObject(Bucket, key, key)
    })
    async function list(input: object) {
      const answer = await s3.send(new ListObjectsV2Command({ Bucket, ...input }))
      return [...(answer.Contents ?? []).map((o) => o.Key), ...(answer.CommonPrefixes ?? []).map((p) => p.Prefix)]
    }

    it('lists in the order of UTF-8 bytes, by prefix, grouped by delimiter', async () => {
      expect(await list({})).to.deep.equal(['a', 'b/1', 'b/2', 'b/sub/x', 'c/y', 'c/z', 'd&', 'ﬀ', '🦞'])
      expect(await list({ Prefix: 'b/' })).to.deep.equal(['b/1', 'b/2', 'b/sub/x'])
      expect(await list({ Prefix: 'b/', Delimiter: '/' })).to.deep.equal(['b/1', 'b/2', 'b/sub/'])
      expect(await list({ Delimiter: '/' })).to.deep.equal(['a', 'd&', 'ﬀ', '🦞', 'b/', 'c/'])
      expect(await list({ StartAfter: 'b/2', Prefix: 'b' })).to.deep.equal(['b/sub/x'])
      expect(await list({ EncodingType: 'url', Prefix: 'd' })).to.deep.equal(['d%26'])
      const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'd' }))
      expect(Contents?.[0]).to.include({ Size: 2, ETag: world.getObject(Bucket, 'd&')?.etag, StorageClass: 'STANDARD' })
    })

    it('returns pages of keys and common prefixes', async () => {
      const pages: string[][] = []
      for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket, Delimiter: '/' })) {
        pages.push([
          ...(page.Contents ?? []).map((o) => o.Key),
          ...(page.CommonPrefixes ?? []).map((p) => p.Prefix),
        ] as string[])
        expect(page.KeyCount).to.equal(2)
      }
      expect(pages).to.deep.equal([
        ['a', 'b/'],
        ['d&', 'c/'],
        ['ﬀ', '🦞'],
      ])
      const exact = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 9 }))
      expect(exact).to.include({ IsTruncated: false, KeyCount: 9 })
      const none = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 }))
      expect(none).to.include({ IsTruncated: false, KeyCount: 0 })
      const bad = s3.send(new ListObjectsV2Command({ Bucket, ContinuationToken: '!' }))
      expect(await failure(bad)).to.include({ name: 'InvalidArgument', status: 400 })
    })
  })

  it('CreateBucket and HeadBucket', async () => {
    const head = (name: string) => s3.send(new HeadBucketCommand({ Bucket: name }))
    expect(await failure(head('other'))).to.include({ status: 404 })
    const CreateBucketConfiguration = { LocationConstraint: 'eu-central-1' as const }
    const create = new CreateBucketCommand({ Bucket: 'other', CreateBucketConfiguration })
    await s3.send(create)
    expect((await head('other')).BucketRegion).to.equal('eu-central-1')
    expect(await failure(s3.send(create))).to.include({ name: 'BucketAlreadyOwnedByYou', status: 409 })
  })

  it('finds the bucket in the Host header', async () => {
    const upload = await raw('PUT', '/in/the/host', { host: `${Bucket}.s3.eu-central-1.amazonaws.com` }, 'x')
    expect(upload[0]).to.equal(200)
    expect(await raw('GET', '/in/the/host', { host: `${Bucket}.localhost:4566` })).to.deep.equal([200, 'x'])
    expect(await text({ Key: 'in/the/host' })).to.equal('x')
  })

  it("reports missing objects in S3's words, and names what it does not emulate", async () => {
    expect(await failure(get({ Key: 'none' }))).to.include({ name: 'NoSuchKey', status: 404 })
    const nowhere = { Bucket: 'nowhere', Key: 'k' }
    expect((await failure(s3.send(new GetObjectCommand(nowhere)))).name).to.equal('NoSuchBucket')
    const upload = new PutObjectCommand({ ...nowhere, Body: 'x' })
    expect(await failure(s3.send(upload))).to.include({ name: 'NoSuchBucket', status: 404 })
    world.putObject(Bucket, 'k', 'x')
    for (const refused of [
      s3.send(new ListBucketsCommand({})),
      s3.send(new CopyObjectCommand({ Bucket, Key: 'l', CopySource: `${Bucket}/k`, Tagging: 'a=b' })),
      get({ Key: 'k', VersionId: '1' }),
      get({ Key: 'k', IfModifiedSince: new Date() }),
      put({ Key: 'k', Body: 'y', Tagging: 'a=b' }),
      put({ Key: 'k', Body: 'y', CacheControl: 'no-store' }),
      put({ Key: 'k', Body: 'y', ContentEncoding: 'gzip' }),
    ]) {
      expect(await failure(refused)).to.include({ name: 'NotImplemented', status: 501 })
    }
    expect(await text({ Key: 'k' })).to.equal('x')
  })

  it('accepts only one access key, and no unsigned request', async () => {
    const other = client('AKIASTRANGER')
    const denied = await failure(other.send(new ListObjectsV2Command({ Bucket })))
    expect(denied).to.include({ name: 'InvalidAccessKeyId', status: 403 })
    other.destroy()
    const unsigned = await fetch(`${endpoint.url}/${Bucket}?list-type=2`)
    expect([unsigned.status, (await unsigned.text()).includes('<Code>AccessDenied</Code>')]).to.deep.equal([403, true])
  })

  for (const [fault, statuses, kind] of [
    ['s3:throttle', [503, 503, 200], 'THROTTLING'],
    ['s3:error', [500, 500, 200], 'TRANSIENT'],
    ['s3:reset', ['reset', 'reset', 200], 'TRANSIENT'],
  ] as const) {
    it(`${fault}: the SDK retries until it succeeds`, async () => {
      faults.add(parseFault(fault))
      await put({ Key: 'k', Body: 'hello' })
      expect(log.map((line) => line.status)).to.deep.equal(statuses)
      expect(retried).to.deep.equal([kind, kind])
      expect(await text({ Key: 'k' })).to.equal('hello')
    })
  }

  it("fails with S3's text after the retries", async () => {
    faults.add(parseFault('s3:throttle=3'))
    expect(await failure(get({ Key: 'k' }))).to.include({ name: 'SlowDown', status: 503 })
    faults.add(parseFault('s3:error=3'))
    expect(await failure(get({ Key: 'k' }))).to.include({ name: 'InternalError', status: 500 })
  })
})
