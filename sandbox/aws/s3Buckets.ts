import type { Reply } from '../http.js'
import { AwsError } from './error.js'
import type { S3Request } from './s3.js'
import { receiveText } from './s3Body.js'
import { invalidArgument, malformedXml, urlEncoded, xmlReply } from './s3Xml.js'
import type { StoredObject } from './storage.js'
import type { World } from './world.js'
import { unescapeXml, type XmlValue } from './xml.js'

/** S3's own limit for a page of a listing and for one DeleteObjects. */
const MAX_KEYS = 1000

/** CreateBucket. */
export async function createBucket(world: World, { bucket, exchange }: S3Request): Promise<Reply> {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new AwsError('InvalidBucketName', 400, 'The specified bucket is not valid.')
  }
  if (world.buckets.has(bucket)) {
    const message = 'Your previous request to create the named bucket succeeded and you already own it.'
    throw new AwsError('BucketAlreadyOwnedByYou', 409, message)
  }
  const { text } = await receiveText(exchange)
  const location = /<LocationConstraint>([^<]*)<\/LocationConstraint>/.exec(text)?.[1]
  if (location !== undefined && location !== world.region) {
    const message = `The ${location} location constraint is incompatible for the region specific endpoint.`
    throw new AwsError('IllegalLocationConstraintException', 400, message)
  }
  world.createBucket(bucket)
  return { status: 200, headers: { location: `/${bucket}` } }
}

/** HeadBucket. */
export function headBucket(world: World, { bucket }: S3Request): Reply {
  world.bucket(bucket)
  return { status: 200, headers: { 'x-amz-bucket-region': world.region } }
}

/** ListObjectsV2. */
export function listObjects(world: World, { bucket, exchange }: S3Request): Reply {
  const query = exchange.url.searchParams
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const maxKeys = readMaxKeys(query.get('max-keys'))
  const token = query.get('continuation-token')
  const encoding = query.get('encoding-type')
  const text = urlEncoded(encoding)
  const after = token === null ? null : readToken(token)
  const startAfter = query.get('start-after')

  const entries: { name: string; object: StoredObject | null }[] = []
  const objects = [...world.bucket(bucket)].sort(([a], [b]) => byBytes(a, b))
  for (const [key, object] of objects) {
    if (!key.startsWith(prefix)) continue
    if (after === null && startAfter !== null && byBytes(key, startAfter) <= 0) continue
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const name = cut < 0 ? key : key.slice(0, cut + delimiter.length)
    if (after !== null && byBytes(name, after) <= 0) continue
    if (entries.at(-1)?.name !== name) entries.push({ name, object: cut < 0 ? object : null })
  }
  const shown = entries.slice(0, maxKeys)
  const last = shown.at(-1)
  const truncated = last !== undefined && shown.length < entries.length
  return xmlReply('ListBucketResult', {
    Name: bucket,
    Prefix: text(prefix),
    Delimiter: delimiter === '' ? undefined : text(delimiter),
    StartAfter: startAfter === null ? undefined : text(startAfter),
    EncodingType: encoding ?? undefined,
    MaxKeys: maxKeys,
    KeyCount: shown.length,
    IsTruncated: truncated,
    ContinuationToken: token ?? undefined,
    NextContinuationToken: truncated ? Buffer.from(last.name).toString('base64url') : undefined,
    Contents: shown.flatMap(({ name, object }) => (object ? [contentXml(text(name), object)] : [])),
    CommonPrefixes: shown.flatMap(({ name, object }) => (object ? [] : [{ Prefix: text(name) }])),
  })
}

/** S3 lists in the order of the keys' UTF-8 bytes, which is not the order of JavaScript's strings. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function contentXml(key: string, object: StoredObject): XmlValue {
  return {
    Key: key,
    LastModified: object.lastModified,
    ETag: object.etag,
    ChecksumAlgorithm: [...object.checksums.keys()].map((name) => name.toUpperCase()),
    ChecksumType: object.checksums.size > 0 ? object.checksumType : undefined,
    Size: object.content.size,
    StorageClass: 'STANDARD',
  }
}

function readMaxKeys(text: string | null): number {
  if (text === null) return MAX_KEYS
  if (!/^\d{1,9}$/.test(text)) throw invalidArgument('Provided max-keys not an integer or within integer range')
  return Math.min(Number(text), MAX_KEYS)
}

function readToken(token: string): string {
  const name = Buffer.from(token, 'base64url')
  if (token === '' || name.toString('base64url') !== token) {
    throw invalidArgument('The continuation token provided is incorrect')
  }
  return name.toString()
}

/** DeleteObjects: up to 1000 keys, each one deleted whether it exists or not. */
export async function deleteObjects(world: World, { bucket, exchange }: S3Request): Promise<Reply> {
  world.bucket(bucket)
  const { text, checked } = await receiveText(exchange)
  if (!checked) {
    const message = 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*'
    throw new AwsError('InvalidRequest', 400, message)
  }
  const { keys, quiet } = parseDelete(text)
  await Promise.all(keys.map((key) => world.deleteObject(bucket, key)))
  return xmlReply('DeleteResult', { Deleted: quiet ? [] : keys.map((Key) => ({ Key })) })
}

/** The body is flat enough for patterns: keys are escaped text, so no `<` is ever part of one. */
function parseDelete(xml: string): { keys: string[]; quiet: boolean } {
  const root = /^\s*(?:<\?xml[^>]*\?>)?\s*<Delete(?:\s[^>]*)?>([\s\S]*)<\/Delete>\s*$/.exec(xml)?.[1]
  if (root === undefined || root.includes('<!')) throw malformedXml()
  const keys = [...root.matchAll(/<Object>([\s\S]*?)<\/Object>/g)].map(([, inner = '']) => {
    const key = /^\s*<Key>([^<]+)<\/Key>\s*$/.exec(inner)?.[1]
    if (key !== undefined) return unescapeXml(key)
    if (!/<(?:VersionId|ETag|LastModifiedTime|Size)>/.test(inner)) throw malformedXml()
    throw new AwsError('NotImplemented', 501, 'The sandbox deletes by key only: no versions, no conditions')
  })
  if (keys.length === 0 || keys.length > MAX_KEYS) throw malformedXml()
  return { keys, quiet: /<Quiet>\s*true\s*<\/Quiet>/.test(root) }
}
