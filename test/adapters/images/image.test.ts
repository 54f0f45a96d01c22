import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EBSClient, PutSnapshotBlockCommand } from '@aws-sdk/client-ebs'
import { S3Client, UploadPartCommand, UploadPartCopyCommand } from '@aws-sdk/client-s3'
import { expect } from 'chai'
import { ebsEndpoint } from '../../../sandbox/aws/ebs.js'
import { World } from '../../../sandbox/aws/world.js'
import { Faults } from '../../../sandbox/faults.js'
import { catchingHandler, requestAsSent } from '../../../src/lib/adapters/aws/probe.js'
import { attempt } from '../../../src/lib/adapters/aws/putOutcome.js'
import { createSigner } from '../../../src/lib/adapters/aws/signedPut.js'
import { imageFiles } from '../../../src/lib/adapters/images/imageFile.js'
import { journalFile, scanRecord } from '../../../src/lib/adapters/images/journalFile.js'
import { createSnapshots } from '../../../src/lib/adapters/images/snapshots.js'
import { blocksOf } from '../../../src/lib/domain/images/blocks.js'
import { openImage } from '../../../src/lib/ops/images/imageSource.js'
import { failureOf } from '../../support/failure.js'
import { bootSector, sha256 } from '../../support/fakeDisk.js'
import { setEnv } from '../../support/plane.js'

const MIB = 1024 ** 2

describe('adapters of image work', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-image-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** A file of this size with data at these offsets. */
  function sparse(name: string, bytes: number, data: Record<number, Buffer>): string {
    const path = join(folder, name)
    writeFileSync(path, '')
    truncateSync(path, bytes)
    const fd = openSync(path, 'r+')
    for (const [offset, content] of Object.entries(data)) writeSync(fd, content, 0, content.length, Number(offset))
    return path
  }

  describe('imageFiles', () => {
    it("finds the image.json of a link's target", async () => {
      mkdirSync(join(folder, 'dist/result'), { recursive: true })
      sparse('dist/result/nixos-amazon-image.raw', MIB, { 0: bootSector('esp') })
      symlinkSync(join(folder, 'dist/result/nixos-amazon-image.raw'), join(folder, 'dist/nixos.img'))
      const info = {
        schema: 1,
        name: 'clawdinator-1',
        path: 'result/nixos-amazon-image.raw',
        format: 'raw',
        logicalBytes: MIB,
        allocatedBytes: 4096,
        sha256: '0'.repeat(64),
        bootMode: 'uefi',
        system: 'aarch64-linux',
        revision: null,
        toplevel: null,
      }
      writeFileSync(join(folder, 'dist/image.json'), JSON.stringify(info))
      const opened = await openImage(imageFiles, join(folder, 'dist/nixos.img'), {
        force: false,
        progress: { note: () => {} },
      })
      await opened.file.close()
      expect(opened.facts).to.include({ name: 'clawdinator-1', bootMode: 'uefi', architecture: 'arm64' })
    })

    it('distinguishes holes from data by the file system, and never leaves out data', async () => {
      const path = sparse('holes.raw', 64 * MIB, {
        0: randomBytes(10),
        [20 * MIB]: randomBytes(MIB),
        [64 * MIB - 1]: randomBytes(1),
      })
      const file = await imageFiles.open(path)
      const { by, extents } = await file.extents()
      for (const offset of [0, 20 * MIB, 21 * MIB - 1, 64 * MIB - 1]) {
        expect(
          extents.some(({ start, end }) => start <= offset && offset < end),
          `byte ${offset}`,
        ).to.equal(true)
      }
      if (by !== null) expect(extents.reduce((sum, { start, end }) => sum + end - start, 0)).to.be.lessThan(8 * MIB)
      await file.close()
    })

    it('recognises a file that consists only of a hole', async () => {
      const file = await imageFiles.open(sparse('hole.raw', MIB, {}))
      const { by, extents } = await file.extents()
      expect(extents).to.deep.equal(by === null ? [{ start: 0, end: MIB }] : [])
      await file.close()
    })

    it('computes the same block digests with and without threads', async () => {
      const blockBytes = 4096
      const tail = randomBytes(100)
      const bytes = 200 * blockBytes + tail.length
      const data = {
        [blockBytes]: randomBytes(blockBytes),
        [150 * blockBytes]: randomBytes(1),
        [200 * blockBytes]: tail,
      }
      const file = await imageFiles.open(sparse('blocks.raw', bytes, data))
      const stop = new AbortController().signal
      const whole = readFileSync(file.path)
      const all = Uint32Array.from({ length: 201 }, (_, i) => i)
      for (const indexes of [all, Uint32Array.of(1, 150, 151, 200)]) {
        const { digestOf } = await file.digestBlocks(indexes, { blockBytes, stop, onProgress: () => {} })
        indexes.forEach((index, at) => {
          const block = Buffer.alloc(blockBytes)
          whole.copy(block, 0, index * blockBytes, (index + 1) * blockBytes)
          const expected = block.equals(Buffer.alloc(blockBytes)) ? null : sha256(block).toString('hex')
          const digest = digestOf(at)
          expect(digest && Buffer.from(digest).toString('hex'), `block ${index}`).to.equal(expected)
        })
      }
      await file.close()
    })

    it('stops in the middle after an abort', async () => {
      const file = await imageFiles.open(sparse('stop.raw', 256 * 4096, {}))
      const options = { blockBytes: 4096, stop: AbortSignal.abort(), onProgress: () => {} }
      const indexes = Uint32Array.from(blocksOf([{ start: 0, end: MIB }], MIB))
      expect(await failureOf(file.digestBlocks(indexes, options))).to.include({ code: 'CANCELLED' })
      await file.close()
    })

    it('detects that a file was written, truncated or touched after it was opened', async () => {
      const changes: ((path: string) => void)[] = [
        (path) => appendFileSync(path, 'x'),
        (path) => truncateSync(path, 1),
        (path) => utimesSync(path, 1, 1),
      ]
      for (const change of changes) {
        const file = await imageFiles.open(sparse('changing.raw', MIB, { 0: randomBytes(9) }))
        await file.assertUnchanged()
        change(file.path)
        expect((await failureOf(file.assertUnchanged())).message).to.match(/changed while it was read/)
        await file.close()
      }
      const short = await imageFiles.open(sparse('short.raw', MIB, {}))
      truncateSync(short.path, 10)
      expect((await failureOf(short.read(0, new Uint8Array(100)))).message).to.match(/changed while it was read/)
      await short.close()
    })

    it('refuses what is not a regular file, and names its type', async () => {
      expect((await failureOf(imageFiles.open(folder))).message).to.match(/is a directory/)
      expect((await failureOf(imageFiles.open('/dev/null'))).message).to.match(/not a regular file/)
      expect((await failureOf(imageFiles.open(join(folder, 'none.raw')))).message).to.match(/does not exist/)
    })
  })

  describe('journalFile', () => {
    it('reads only complete lines, and starts a new line after a truncated one', async () => {
      const journal = journalFile(join(folder, 'state'), 'a')
      expect(await journal.lines()).to.deep.equal([])
      await Promise.all(['1', '2', '3'].map((line) => journal.append(line)))
      await journal.unlock()
      appendFileSync(join(folder, 'state/a.journal'), '4')
      const again = journalFile(join(folder, 'state'), 'a')
      expect((await again.lines()).sort()).to.deep.equal(['1', '2', '3'])
      await again.append('5')
      expect((await again.lines()).at(-1)).to.equal('5')
      await again.clear()
      expect(await again.lines()).to.deep.equal([])
      await again.unlock()
    })

    it('allows only one running process to hold the journal', async () => {
      const [one, other] = [journalFile(folder, 'b'), journalFile(folder, 'b')]
      expect([await one.lock(), await other.lock()]).to.deep.equal([true, false])
      await one.unlock()
      expect(await other.lock()).to.equal(true)
      expect(await one.holder()).to.include(`process ${process.pid} on `)
      await other.unlock()
      // In the format of earlier versions, with an old time.
      writeFileSync(join(folder, 'b.journal.lock'), String(process.pid))
      utimesSync(join(folder, 'b.journal.lock'), 1, 1)
      expect(await one.lock()).to.equal(true)
      await one.unlock()
    })

    it("names a folder that it can't write to", async () => {
      const failure = await failureOf(journalFile('/dev/null/x', 'c').lock())
      expect(failure).to.include({ code: 'NOT_CONFIGURED' })
      expect(failure.hint).to.match(/--state-dir/)
    })
  })

  describe('scanRecord', () => {
    it('caches only the file that was read last', async () => {
      const scans = scanRecord(join(folder, 'scans'))
      expect(await scans.read('a')).to.equal(null)
      await scans.write('a', Uint8Array.of(1, 10, 2))
      expect([...((await scans.read('a')) ?? [])]).to.deep.equal([1, 10, 2])
      expect(await scans.read('b')).to.equal(null)
      await scans.write('b', Uint8Array.of(3))
      expect(await scans.read('a')).to.equal(null)
    })

    it('gives a file no identity if it was changed a moment ago', async () => {
      const path = sparse('identity.raw', MIB, { 0: Buffer.from('x') })
      const file = await imageFiles.open(path)
      await file.close()
      expect(file.identity).to.equal(null)
      const old = await imageFiles.open(process.execPath)
      await old.close()
      expect(old.identity).to.be.a('string')
    })
  })

  describe('createSigner', () => {
    const credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret', sessionToken: 'token' }

    /** Signs the SDK's own request, and expects the same signature. */
    async function expectSame(service: string, send: (region: string) => Promise<unknown>): Promise<void> {
      const sent = await requestAsSent(() => send('eu-central-1'))
      const {
        authorization,
        'x-amz-date': time = '',
        'x-amz-content-sha256': payloadSha256 = '',
        ...rest
      } = sent.headers
      const signed = /SignedHeaders=([^,]+)/.exec(authorization ?? '')?.[1]?.split(';') ?? []
      const own = Object.entries(rest).filter(([name]) => signed.includes(name) && name !== 'x-amz-security-token')
      const query = Object.entries(sent.query ?? {}).map(
        ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
      )
      const headers = await createSigner({ region: 'eu-central-1', service, credentials: async () => credentials })(
        {
          path: sent.path,
          query: query.sort().join('&'),
          headers: Object.fromEntries(own),
          payloadSha256,
        },
        new Date(time.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z')),
      )
      expect(headers.authorization).to.equal(authorization)
    }

    it('signs requests exactly as the SDK does', async () => {
      const common = { credentials, requestHandler: catchingHandler, maxAttempts: 1 }
      await expectSame('s3', (region) =>
        new S3Client({ ...common, region }).send(
          new UploadPartCommand({
            Bucket: 'bucket',
            Key: 'images/a b.raw',
            UploadId: 'a/b+c=',
            PartNumber: 7,
            Body: 'x',
          }),
        ),
      )
      await expectSame('s3', (region) =>
        new S3Client({ ...common, region }).send(
          new UploadPartCopyCommand({
            ...{ Bucket: 'bucket', Key: 'images/a.raw', UploadId: 'a', PartNumber: 7 },
            ...{ CopySource: 'bucket/images/zeros/8388608', CopySourceRange: 'bytes=0-8388607' },
          }),
        ),
      )
      await expectSame('ebs', (region) =>
        new EBSClient({ ...common, region }).send(
          new PutSnapshotBlockCommand({
            ...{ SnapshotId: 'snap-0123456789abcdef0', BlockIndex: 7, BlockData: Buffer.from('x'), DataLength: 1 },
            ...{ Checksum: 'AA==', ChecksumAlgorithm: 'SHA256' },
          }),
        ),
      )
    })
  })

  describe('createSnapshots', () => {
    it('does not change a completed snapshot, and reports a refused checksum', async () => {
      const world = new World({})
      const ebs = await ebsEndpoint(world, { faults: new Faults(), accessKeyId: 'AKIA' })
      const restore = setEnv({
        AWS_ENDPOINT_URL_EBS: ebs.url,
        AWS_ACCESS_KEY_ID: 'AKIA',
        AWS_SECRET_ACCESS_KEY: 'not verified',
      })
      try {
        const stop = new AbortController().signal
        const snapshots = createSnapshots({ region: world.region, bucket: 'b', connections: 1, stop })
        const request = { sizeGib: 1, timeoutMinutes: 60, token: 't', parent: null, kmsKey: null, description: 'd' }
        const { id } = await snapshots.start({ ...request, tags: {} })
        const nothing = { blocks: 0, checksum: sha256(Buffer.alloc(0)) }
        expect((await failureOf(snapshots.complete(id, { ...nothing, checksum: Buffer.alloc(32) }))).code).to.equal(
          'UPSTREAM',
        )
        await snapshots.complete(id, nothing)
        await snapshots.complete(id, nothing)
      } finally {
        restore()
        await ebs.close()
        await world.close()
      }
    })
  })

  describe('attempt', () => {
    const answer = (status: number, headers: Record<string, string> = {}, text = '') => ({ status, headers, text })
    const s3 = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`
    const ebs = (code: string) => ({ 'x-amzn-errortype': `${code}:http://internal.amazon.com/coral/` })
    const table: [why: string, given: ReturnType<typeof answer>, outcome: string][] = [
      ['stored', answer(201), 'ok'],
      ['SlowDown', answer(503, {}, s3('SlowDown')), 'throttled'],
      ['503 without a word', answer(503), 'throttled'],
      ['429', answer(429), 'throttled'],
      ["EBS's quota", answer(400, ebs('RequestThrottledException')), 'throttled'],
      ['ThrottlingException', answer(400, {}, '{"__type":"com.amazon#ThrottlingException"}'), 'throttled'],
      ['500', answer(500, {}, s3('InternalError')), 'passing'],
      ['a damaged part', answer(400, {}, s3('BadDigest')), 'passing'],
      ['a damaged payload', answer(400, {}, s3('XAmzContentSHA256Mismatch')), 'passing'],
      [
        'a damaged block',
        answer(400, ebs('ValidationException'), '{"Message":"The checksum does not match","Reason":"INVALID_BLOCK"}'),
        'passing',
      ],
      ['a refused block', answer(400, ebs('ValidationException'), '{"Reason":"INVALID_SNAPSHOT_ID"}'), 'UPSTREAM'],
      ['expired credentials', answer(403, ebs('ExpiredTokenException')), 'DENIED'],
      ['no such upload', answer(404, {}, s3('NoSuchUpload')), 'UPSTREAM'],
      ['another region', answer(301, {}, s3('PermanentRedirect')), 'NOT_CONFIGURED'],
      ['no such bucket', answer(404, {}, s3('NoSuchBucket')), 'NOT_CONFIGURED'],
    ]
    for (const [why, given, expected] of table) {
      it(`${why}: ${expected}`, async () => {
        const outcome = await attempt('PUT', async () => given).catch((error) => ({ ok: false, kind: error.code }))
        expect('kind' in outcome ? outcome.kind : 'ok').to.equal(expected)
      })
    }

    it('classifies a lost connection as transient', async () => {
      const outcome = await attempt('PUT', () => Promise.reject(new Error('ECONNRESET')))
      expect(outcome).to.include({ ok: false, kind: 'passing' })
    })
  })
})
