import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  CopyObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { ClawctlError } from '../../domain/errors.js'
import type { BundleDownloads, BundleStore } from '../../ops/bundles/ports.js'
import { type AwsSettings, awsCall, bucketStyle, clientOptions, NO_SUCH_OBJECT, unlessNamed } from '../aws/errors.js'
import { createObjectStore } from '../aws/objectStore.js'
import { withRetry } from '../retry.js'

/** Larger bodies are streamed, and clawctl itself retries: the SDK can't send a stream twice. */
const MAX_BUFFERED_BYTES = 1024 * 1024
/** S3's limit of PutObject and CopyObject: above it S3 has no SHA-256 over the whole object. */
const MAX_OBJECT_BYTES = 5 * 1024 ** 3
/** S3's limit of DeleteObjects. */
const MAX_KEYS = 1000
/** A gigabyte at 2 MB/s. */
const TRANSFER_MS = 600_000

const nothing = () => {}
/** Suppresses the SDK's warning that it can't retry a stream: clawctl does that. */
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** The fleet's bucket for uploads and checks of bundles. `folder` is for downloads. */
export function createBundleStore(
  settings: AwsSettings & { bucket: string; folder: () => string },
): BundleStore & BundleDownloads {
  const Bucket = settings.bucket
  const client = new S3Client({ ...bucketStyle(), ...clientOptions(settings) })
  const patient = (attempts: number) => ({
    ...bucketStyle(),
    ...clientOptions({ region: settings.region, retries: { attempts, attemptMs: TRANSFER_MS } }),
  })
  const transfers = new S3Client(patient(4))
  const streams = new S3Client({ ...patient(1), logger: SILENT })
  const { get, list, putIf } = createObjectStore(settings)
  let downloads = 0

  /** Null if the object does not exist. After a broken connection it is read again from its beginning. */
  const readThrough = <T>(Key: string, use: (body: Readable, encryption: string | null) => Promise<T>) =>
    s3Call(`S3 GetObject ${Bucket}/${Key}`, () =>
      withRetry(
        async () => {
          const object = await orNull(() => streams.send(new GetObjectCommand({ Bucket, Key })))
          return object && use(object.Body as Readable, object.ServerSideEncryption ?? null)
        },
        { retryable: isTransient },
      ),
    )

  return {
    get,
    list,
    putIf,

    head: (Key, checksum) =>
      s3Call(`S3 HeadObject ${Bucket}/${Key}`, async () => {
        const mode = checksum ? { ChecksumMode: 'ENABLED' as const } : {}
        const head = await orNull(() => client.send(new HeadObjectCommand({ Bucket, Key, ...mode })))
        return (
          head && {
            size: head.ContentLength ?? 0,
            sha256: wholeSha256(head),
            encryption: head.ServerSideEncryption ?? null,
          }
        )
      }),

    read: (key, keep) =>
      readThrough(key, async (body, encryption) => {
        const hash = createHash('sha256')
        const chunks: Buffer[] = []
        let size = 0
        for await (const chunk of body as AsyncIterable<Buffer>) {
          hash.update(chunk)
          size += chunk.length
          if (keep && size <= MAX_BUFFERED_BYTES) chunks.push(chunk)
        }
        const bytes = keep && size <= MAX_BUFFERED_BYTES ? Buffer.concat(chunks) : null
        return { size, sha256: hash.digest('hex'), encryption, bytes }
      }),

    send(Key, content, { sha256, kmsKey }) {
      const size = 'bytes' in content ? content.bytes.length : content.size
      if (size > MAX_OBJECT_BYTES) {
        throw new ClawctlError('INVALID_REQUEST', `${Key} would have ${size} bytes, but the limit is 5 GiB.`)
      }
      const command = (Body: Uint8Array | Readable) =>
        new PutObjectCommand({
          Bucket,
          Key,
          Body,
          ContentLength: size,
          ContentType: 'application/octet-stream',
          ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
          ...(kmsKey === undefined ? {} : { ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId: kmsKey }),
        })
      return s3Call(`S3 PutObject ${Bucket}/${Key}`, async () => {
        if ('bytes' in content) await transfers.send(command(content.bytes))
        else await withRetry(() => streams.send(command(createReadStream(content.file))), { retryable: isTransient })
      })
    },

    copy: (from, Key, sha256) =>
      s3Call(`S3 CopyObject ${Bucket}/${Key}`, async () => {
        const CopySource = `${Bucket}/${from.split('/').map(encodeURIComponent).join('/')}`
        const copied = await orNull(() =>
          transfers.send(new CopyObjectCommand({ Bucket, Key, CopySource, ChecksumAlgorithm: 'SHA256' })),
        )
        if (!copied) return false
        const { ChecksumSHA256 } = copied.CopyObjectResult ?? {}
        if (ChecksumSHA256 === Buffer.from(sha256, 'hex').toString('base64')) return true
        throw new ClawctlError('UPSTREAM', `The copy of ${from} in S3 has an unexpected SHA-256.`, {
          hint: 'Run `clawctl bootstrap verify all`: it shows which bundle holds the damaged object.',
        })
      }),

    async remove(keys) {
      for (let at = 0; at < keys.length; at += MAX_KEYS) {
        const Objects = keys.slice(at, at + MAX_KEYS).map((Key) => ({ Key }))
        await s3Call(`S3 DeleteObjects ${Bucket}`, async () => {
          const { Errors } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }))
          const [first] = Errors ?? []
          if (first) throw Object.assign(new Error(first.Message ?? ''), { name: first.Code ?? 'DeleteError' })
        })
      }
    },

    async download(key) {
      downloads += 1
      const file = `${settings.folder()}/download-${downloads}`
      const found = await readThrough(key, async (body) => {
        await pipeline(body, createWriteStream(file))
        return true
      })
      if (!found) throw new ClawctlError('UPSTREAM', `${key} was removed while it was read.`, { hint: 'Try again.' })
      return { file, remove: () => rm(file, { force: true }) }
    },
  }
}

/** S3's SHA-256 in hex, if it covers the whole object and not the parts of an upload. */
function wholeSha256(head: { ChecksumSHA256?: string | undefined; ChecksumType?: string | undefined }): string | null {
  if (!head.ChecksumSHA256 || head.ChecksumType === 'COMPOSITE' || head.ChecksumSHA256.includes('-')) return null
  return Buffer.from(head.ChecksumSHA256, 'base64').toString('hex')
}

const orNull = <T>(call: () => Promise<T>) => unlessNamed(NO_SUCH_OBJECT, null, call)

/** KMS has its own error codes, some inside S3's AccessDenied. */
function s3Call<T>(what: string, call: () => Promise<T>): Promise<T> {
  return awsCall(what, async () => {
    try {
      return await call()
    } catch (error) {
      const { name, message } = error as Error
      if (name.startsWith('KMS.') || (name === 'AccessDenied' && /\bkms:/i.test(message))) {
        throw new ClawctlError('DENIED', `AWS refused ${what}: the KMS key can't be used (${name}).`, {
          hint: 'Check FLEET_KMS_KEY_ARN or --kms-key, the key policy, and that the role has kms:GenerateDataKey and kms:Decrypt on it.',
          cause: error,
        })
      }
      throw error
    }
  })
}

/** Errors that the SDK would retry. */
function isTransient(error: unknown): boolean {
  const { $metadata, $retryable, name, code } = error as Error & {
    $metadata?: { httpStatusCode?: number }
    $retryable?: object
    code?: string
  }
  const status = $metadata?.httpStatusCode
  if (status !== undefined && status < 500) return status === 429 || $retryable !== undefined
  return status !== undefined || name === 'TimeoutError' || /^E(?!NOSPC$|DQUOT$)[A-Z]+$/.test(code ?? '')
}
