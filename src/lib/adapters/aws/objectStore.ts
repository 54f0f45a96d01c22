import {
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import type { ObjectInfo, ObjectStore } from '../../ops/ports.js'
import { type AwsSettings, always, awsCall, bucketStyle, clientOptions, unlessNamed } from './errors.js'

/** S3's maximum of keys per listing. */
const PAGE = 1000
/** S3's errors for a write whose condition does not hold. */
const LOST = /^(?:PreconditionFailed|ConditionalRequestConflict|NoSuchKey)$/

/** The fleet's bucket: bundles, heartbeats, the deploys' records. */
export function createObjectStore(settings: AwsSettings & { bucket: string }): ObjectStore {
  const Bucket = settings.bucket
  // All requests are to one bucket, and the heartbeats of all hosts are read concurrently: a tenth less CPU.
  const client = new S3Client({ cacheMiddleware: true, ...bucketStyle(), ...clientOptions(settings) })
  return {
    get: (Key) =>
      awsCall(`S3 GetObject ${Bucket}/${Key}`, () =>
        unlessNamed(/^NoSuchKey$/, null, async () => {
          const object = await client.send(new GetObjectCommand({ Bucket, Key }))
          return { text: (await object.Body?.transformToString()) ?? '', etag: always(object.ETag) }
        }),
      ),
    put: (Key, text) =>
      awsCall(`S3 PutObject ${Bucket}/${Key}`, async () => {
        await client.send(new PutObjectCommand({ Bucket, Key, Body: text, ContentType: 'application/json' }))
      }),
    putIf: (Key, text, etag) =>
      awsCall(`S3 PutObject ${Bucket}/${Key}`, () =>
        // NoSuchKey: the object to replace no longer exists.
        unlessNamed(LOST, false, async () => {
          const condition = etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag }
          const input = { Bucket, Key, Body: text, ContentType: 'application/json', ...condition }
          await client.send(new PutObjectCommand(input))
          return true
        }),
      ),
    delete: (Key) =>
      awsCall(`S3 DeleteObject ${Bucket}/${Key}`, async () => {
        await client.send(new DeleteObjectCommand({ Bucket, Key }))
      }),
    list: (Prefix, { atMost, flat, after } = {}) =>
      awsCall(`S3 ListObjectsV2 ${Bucket}/${Prefix}`, async () => {
        const found: ObjectInfo[] = []
        const input = {
          Bucket,
          Prefix,
          ...(flat ? { Delimiter: '/' } : {}),
          ...(after === undefined ? {} : { StartAfter: after }),
        }
        const pages = { client, ...(atMost === undefined ? {} : { pageSize: Math.min(atMost, PAGE) }) }
        for await (const page of paginateListObjectsV2(pages, input)) {
          always(page.IsTruncated)
          for (const { Key, Size, LastModified } of page.Contents ?? []) {
            if (Key === undefined) continue
            found.push({ key: Key, size: Size ?? 0, modifiedAt: LastModified ?? new Date(0) })
          }
          if (atMost !== undefined && found.length >= atMost) return found.slice(0, atMost)
        }
        return found
      }),
  }
}
