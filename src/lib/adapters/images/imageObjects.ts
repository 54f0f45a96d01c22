import type { ListMultipartUploadsCommandOutput, ListPartsCommandOutput } from '@aws-sdk/client-s3'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { ImageObjects, OpenUpload, SentPart } from '../../ops/images/ports.js'
import {
  type AwsSettings,
  always,
  awsCall,
  bucketStyle,
  clientOptions,
  NO_SUCH_OBJECT,
  resendsMangled,
  unlessNamed,
} from '../aws/errors.js'
import { createObjectStore } from '../aws/objectStore.js'
import { catchingHandler, requestAsSent } from '../aws/probe.js'
import { attempt } from '../aws/putOutcome.js'
import { createSignedPut, type TransferLimits } from '../aws/signedPut.js'

/** Time limit of a part: this, plus its time on a link of 2 Mbit/s. */
const PART_TIMEOUT_MS = 20_000
const SLOWEST_BYTES_PER_MS = 250
const SHA256_OF_NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

const NO_SUCH_UPLOAD = /^NoSuchUpload$/

/** Images in the fleet's bucket, uploaded in parts. */
export function createImageObjects(settings: AwsSettings & TransferLimits & { bucket: string }): ImageObjects {
  const { region, bucket: Bucket } = settings
  const client = resendsMangled(new S3Client({ ...bucketStyle(), ...clientOptions(settings) }))
  const store = createObjectStore(settings)
  const puts = new Map<string, Promise<{ path: string; put: ReturnType<typeof createSignedPut> }>>()

  /** Resolved once per key: the SDK decides whether host or path contains the bucket. */
  const putOf = (Key: string) => {
    const opened = puts.get(Key) ?? openPut(Key)
    puts.set(Key, opened)
    return opened
  }
  async function openPut(Key: string) {
    const probe = new S3Client({ region, ...bucketStyle(), requestHandler: catchingHandler, maxAttempts: 1 })
    const sent = await requestAsSent(() =>
      probe.send(new UploadPartCommand({ Bucket, Key, UploadId: 'none', PartNumber: 1, Body: '' })),
    )
    const { connections, stop } = settings
    const options = { region, service: 's3', credentials: client.config.credentials, connections, stop }
    return { path: sent.path, put: createSignedPut(sent, options) }
  }

  return {
    bucket: Bucket,
    head: (Key) =>
      awsCall(`S3 HeadObject ${Bucket}/${Key}`, () =>
        unlessNamed(NO_SUCH_OBJECT, null, async () => {
          const object = await client.send(new HeadObjectCommand({ Bucket, Key }))
          const { ContentLength = 0, LastModified = new Date(0), Metadata = {} } = object
          return { key: Key, size: ContentLength, modifiedAt: LastModified, metadata: Metadata }
        }),
      ),
    list: store.list,
    get: (Key) =>
      awsCall(`S3 GetObject ${Bucket}/${Key}`, () =>
        unlessNamed(/^NoSuchKey$/, null, async () => {
          const object = await client.send(new GetObjectCommand({ Bucket, Key }))
          return (await object.Body?.transformToByteArray()) ?? new Uint8Array()
        }),
      ),
    put: (Key, Body) =>
      awsCall(`S3 PutObject ${Bucket}/${Key}`, async () => {
        await client.send(new PutObjectCommand({ Bucket, Key, Body, ContentType: 'application/octet-stream' }))
      }),
    delete: store.delete,
    openUploads: (Prefix) =>
      awsCall(`S3 ListMultipartUploads ${Bucket}/${Prefix}`, async () => {
        const found: OpenUpload[] = []
        let from: { KeyMarker?: string; UploadIdMarker?: string } | null = {}
        while (from) {
          const page: ListMultipartUploadsCommandOutput = await client.send(
            new ListMultipartUploadsCommand({ Bucket, Prefix, ...from }),
          )
          for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
            if (Key && UploadId) found.push({ key: Key, uploadId: UploadId, startedAt: Initiated ?? new Date(0) })
          }
          const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page
          from = always(IsTruncated) && KeyMarker ? { KeyMarker, UploadIdMarker } : null
        }
        return found.sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime())
      }),
    beginUpload: (Key, Metadata) =>
      awsCall(`S3 CreateMultipartUpload ${Bucket}/${Key}`, async () => {
        const input = { Bucket, Key, Metadata, ContentType: 'application/octet-stream' }
        const { UploadId } = await client.send(
          new CreateMultipartUploadCommand({ ...input, ChecksumAlgorithm: 'SHA256', ChecksumType: 'COMPOSITE' }),
        )
        return always(UploadId)
      }),
    sentParts: ({ key: Key, uploadId: UploadId }) =>
      awsCall(`S3 ListParts ${Bucket}/${Key}`, () =>
        unlessNamed(NO_SUCH_UPLOAD, null, async () => {
          const found: SentPart[] = []
          // Not the SDK's paginator: S3 sends a next marker on the last page too, so it would loop for ever.
          for (let PartNumberMarker: string | undefined, more = true; more; ) {
            const page: ListPartsCommandOutput = await client.send(
              new ListPartsCommand({ Bucket, Key, UploadId, PartNumberMarker }),
            )
            for (const { PartNumber = 0, Size = 0, ETag = '', ChecksumSHA256 } of page.Parts ?? []) {
              found.push({ number: PartNumber, bytes: Size, etag: ETag, sha256: ChecksumSHA256 ?? null })
            }
            PartNumberMarker = page.NextPartNumberMarker
            more = always(page.IsTruncated) && Boolean(PartNumberMarker)
          }
          return found
        }),
      ),
    async sendPart({ key, uploadId, number, bytes, sha256, body }) {
      const { path, put } = await putOf(key)
      const outcome = await attempt(`S3 UploadPart ${number} of ${Bucket}/${key}`, () =>
        put({
          path,
          query: `partNumber=${number}&uploadId=${encode(uploadId)}&x-id=UploadPart`,
          headers: { 'x-amz-checksum-sha256': sha256 },
          payloadSha256: Buffer.from(sha256, 'base64').toString('hex'),
          bytes,
          body: body(),
          timeoutMs: PART_TIMEOUT_MS + bytes / SLOWEST_BYTES_PER_MS,
        }),
      )
      if (!outcome.ok) return outcome
      return { ok: true, value: { number, bytes, etag: outcome.value.headers.etag ?? '', sha256 } }
    },
    async copyPart({ key, uploadId, number, bytes, sha256, from }) {
      const { path, put } = await putOf(key)
      const outcome = await attempt(`S3 UploadPartCopy ${number} of ${Bucket}/${key}`, () =>
        put({
          path,
          query: `partNumber=${number}&uploadId=${encode(uploadId)}&x-id=UploadPartCopy`,
          headers: {
            'x-amz-copy-source': `${Bucket}/${encodeURI(from)}`,
            'x-amz-copy-source-range': `bytes=0-${bytes - 1}`,
          },
          payloadSha256: SHA256_OF_NOTHING,
          bytes: 0,
          body: new Uint8Array(),
          timeoutMs: PART_TIMEOUT_MS,
        }),
      ).catch(() => null)
      if (outcome === null || !outcome.ok) return outcome
      const field = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(outcome.value.text)?.[1]
      const [etag, code] = [field('ETag')?.replaceAll('&quot;', '"'), field('Code')]
      // S3 may fail after it has answered 200: the error is in the body then.
      if (code !== undefined) return { ok: false, kind: 'passing', error: new Error(code) }
      return etag && field('ChecksumSHA256') === sha256 ? { ok: true, value: { number, bytes, etag, sha256 } } : null
    },
    completeUpload: ({ key: Key, uploadId: UploadId }, parts) =>
      awsCall(`S3 CompleteMultipartUpload ${Bucket}/${Key}`, async () => {
        const Parts = parts.map(({ number, etag, sha256 }) => ({
          PartNumber: number,
          ETag: etag,
          ...(sha256 === null ? {} : { ChecksumSHA256: sha256 }),
        }))
        const names = /^(?:PreconditionFailed|ConditionalRequestConflict|NoSuchUpload)$/
        return unlessNamed(names, false, async () => {
          await client.send(
            new CompleteMultipartUploadCommand({
              Bucket,
              Key,
              UploadId,
              MultipartUpload: { Parts },
              MpuObjectSize: parts.reduce((sum, part) => sum + part.bytes, 0),
              IfNoneMatch: '*',
            }),
          )
          return true
        })
      }),
    abortUpload: ({ key: Key, uploadId: UploadId }) =>
      awsCall(`S3 AbortMultipartUpload ${Bucket}/${Key}`, async () => {
        const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId })
        await unlessNamed(NO_SUCH_UPLOAD, null, () => client.send(abort))
      }),
  }
}

/** RFC 3986, as a signature needs it. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}
