import type { ObjectInfo, ObjectStore } from '../../ops/ports.js'
import type { AwsSettings } from '../deploy/compute.js'
import { awsCall, clientLimits, lean } from './errors.js'
import { type Readers, readingBy } from './largeAnswers.js'
import { GetObjectCommand, PutObjectCommand, paginateListObjectsV2, S3Client } from './s3Sdk.js'
import { SignedGet } from './signedGet.js'
import { readXml, type Shape } from './xml.js'

/** What S3 lists at once at most. */
const PAGE = 1000
/** How S3 says that a condition of a write does not hold. */
const LOST = new Set(['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchKey'])
const SIGNED_GET_MS = 5_000

const LIST = {
  NextContinuationToken: 'text',
  Contents: ['flat', { Key: 'text', Size: 'text', LastModified: 'text', ETag: 'text' }],
} as const satisfies Shape
const READERS: Readers = {
  ListObjectsV2(xml) {
    const answer = readXml(xml, 'ListBucketResult', LIST)
    if (!answer) return null
    const { NextContinuationToken, Contents } = answer
    const objects = Contents?.map(({ Key, Size, LastModified, ETag }) => ({
      Key,
      Size: Number(Size ?? 0),
      LastModified: new Date(LastModified ?? 0),
      ETag,
    }))
    return { NextContinuationToken, Contents: objects }
  },
}

export interface ObjectStoreSettings extends AwsSettings {
  bucket: string
  /** Whether many small objects are read: see signedGet.ts. */
  readsMany?: boolean
}

/** The fleet's bucket: bundles, heartbeats, the deploys' records. */
export function createObjectStore(settings: ObjectStoreSettings): ObjectStore {
  const Bucket = settings.bucket
  const client = readingBy(lean(new S3Client({ region: settings.region, ...clientLimits(settings) })), READERS)
  const signedGet = settings.readsMany ? signedGetOf(client, settings) : null
  return {
    get: (Key) =>
      awsCall(`S3 GetObject ${Bucket}/${Key}`, async () => {
        const read = await signedGet?.read(Key)
        if (read !== undefined) return read
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
    list: (Prefix, { atMost, flat } = {}) =>
      awsCall(`S3 ListObjectsV2 ${Bucket}/${Prefix}`, async () => {
        const found: ObjectInfo[] = []
        const input = { Bucket, Prefix, ...(flat ? { Delimiter: '/' } : {}) }
        const pages = { client, ...(atMost === undefined ? {} : { pageSize: Math.min(atMost, PAGE) }) }
        for await (const page of paginateListObjectsV2(pages, input)) {
          for (const { Key, Size, LastModified, ETag } of page.Contents ?? []) {
            if (Key === undefined) continue
            found.push({ key: Key, size: Size ?? 0, modifiedAt: LastModified ?? new Date(0), etag: ETag })
          }
          if (atMost !== undefined && found.length >= atMost) return found.slice(0, atMost)
        }
        return found
      }),
  }
}

/** Knows the bucket's address from the first request that the SDK sends. */
function signedGetOf(client: S3Client, { region, patience }: ObjectStoreSettings): SignedGet {
  const signedGet = new SignedGet({
    region,
    timeoutMs: patience?.attemptMs ?? SIGNED_GET_MS,
    credentials: () => client.config.credentials(),
  })
  client.middlewareStack.add(
    (next) => async (args) => {
      const { Key } = args.input as { Key?: string }
      signedGet.learn(args.request as Parameters<SignedGet['learn']>[0], Key)
      return next(args)
    },
    { step: 'finalizeRequest', name: 'learnAddress' },
  )
  return signedGet
}
