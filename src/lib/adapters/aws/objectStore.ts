import type { ObjectInfo, ObjectStore } from '../../ops/ports.js'
import type { AwsSettings } from './compute.js'
import { awsCall, clientLimits } from './errors.js'
import { GetObjectCommand, PutObjectCommand, paginateListObjectsV2, S3Client } from './s3Sdk.js'

/** How S3 says that a condition of a write does not hold. */
const LOST = new Set(['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchKey'])

/** The fleet's bucket: bundles, heartbeats, the deploys' records. */
export function createObjectStore(settings: AwsSettings & { bucket: string }): ObjectStore {
  const Bucket = settings.bucket
  const client = new S3Client({
    region: settings.region,
    ...clientLimits(settings),
  })
  return {
    get: (Key) =>
      awsCall(`S3 GetObject ${Bucket}/${Key}`, async () => {
        try {
          const object = await client.send(new GetObjectCommand({ Bucket, Key }))
          return { text: (await object.Body?.transformToString()) ?? '', etag: object.ETag ?? '' }
        } catch (error) {
          if ((error as Error).name === 'NoSuchKey') return null
          throw error
        }
      }),
    put: (Key, text) =>
      awsCall(`S3 PutObject ${Bucket}/${Key}`, async () => {
        await client.send(new PutObjectCommand({ Bucket, Key, Body: text, ContentType: 'application/json' }))
      }),
    putIf: (Key, text, etag) =>
      awsCall(`S3 PutObject ${Bucket}/${Key}`, async () => {
        try {
          await client.send(
            new PutObjectCommand({
              Bucket,
              Key,
              Body: text,
              ContentType: 'application/json',
              ...(etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag }),
            }),
          )
          return true
        } catch (error) {
          // NoSuchKey: the object that was to be replaced is gone.
          if (LOST.has((error as Error).name)) return false
          throw error
        }
      }),
    list: (Prefix) =>
      awsCall(`S3 ListObjectsV2 ${Bucket}/${Prefix}`, async () => {
        const found: ObjectInfo[] = []
        for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix })) {
          for (const { Key, Size, LastModified } of page.Contents ?? []) {
            if (Key !== undefined) found.push({ key: Key, size: Size ?? 0, modifiedAt: LastModified ?? new Date(0) })
          }
        }
        return found
      }),
  }
}
