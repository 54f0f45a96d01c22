import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from '../http.js'
import { AwsError } from './error.js'
import type { S3Request } from './s3.js'
import {
  type Conditions,
  etagMatches,
  type ObjectProperties,
  preconditionFailed,
  type StoredObject,
} from './storage.js'
import type { World } from './world.js'

/** PutObject, with If-None-Match: * and If-Match. */
export async function putObject(world: World, { bucket, key, exchange, receive }: S3Request): Promise<Reply> {
  const { headers } = exchange
  const conditions = writeConditions(headers)
  const properties = objectProperties(headers, world)
  world.bucket(bucket)
  const { content, md5, checksums } = await receive()
  try {
    const object = world.putObject(bucket, key, content, { ...properties, ...conditions, checksums, etag: md5 })
    return { status: 200, headers: { etag: object.etag, ...encryptionHeaders(object), ...checksumHeaders(object) } }
  } catch (error) {
    await content.discard()
    throw error
  }
}

/** GetObject and HeadObject; the server drops the body of an answer to HEAD. */
export function getObject(world: World, { bucket, key, exchange }: S3Request): Reply {
  const object = world.getObject(bucket, key)
  if (!object) throw new AwsError('NoSuchKey', 404, 'The specified key does not exist.')
  const { headers } = exchange
  if (headers['if-match'] !== undefined && !etagMatches(headers['if-match'], object.etag)) throw preconditionFailed()
  if (headers['if-none-match'] !== undefined && etagMatches(headers['if-none-match'], object.etag)) {
    return { status: 304, headers: { etag: object.etag } }
  }
  const common = {
    etag: object.etag,
    'content-type': object.contentType,
    'last-modified': object.lastModified.toUTCString(),
    'accept-ranges': 'bytes',
    ...encryptionHeaders(object),
    ...Object.fromEntries([...object.metadata].map(([name, value]) => [`x-amz-meta-${name}`, value])),
  }
  const { content } = object
  const range = byteRange(headers.range, content.size)
  if (range) {
    const { first, last } = range
    const own = { 'content-range': `bytes ${first}-${last}/${content.size}`, 'content-length': `${last - first + 1}` }
    return { status: 206, headers: { ...common, ...own }, body: content.read(first, last) }
  }
  const checksums = headers['x-amz-checksum-mode'] === 'ENABLED' ? checksumHeaders(object) : {}
  return {
    status: 200,
    headers: { ...common, ...checksums, 'content-length': `${content.size}` },
    body: content.read(),
  }
}

/** DeleteObject; not an error if the object does not exist. */
export async function deleteObject(world: World, { bucket, key }: S3Request): Promise<Reply> {
  await world.deleteObject(bucket, key)
  return { status: 204 }
}

/** If-None-Match: * and If-Match of a write. @throws AwsError NotImplemented */
export function writeConditions(headers: IncomingHttpHeaders): Conditions {
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') {
    throw new AwsError('NotImplemented', 501, 'If-None-Match of a write can only be *')
  }
  return {
    ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }),
    ...(headers['if-match'] === undefined ? {} : { ifMatch: headers['if-match'] }),
  }
}

/** @throws AwsError InvalidArgument, AccessDenied */
export function objectProperties(headers: IncomingHttpHeaders, world: World): ObjectProperties {
  return {
    contentType: headers['content-type'] ?? 'binary/octet-stream',
    metadata: new Map(userMetadata(headers)),
    sse: encryption(headers, world),
  }
}

function userMetadata(headers: IncomingHttpHeaders): [string, string][] {
  return Object.entries(headers)
    .filter(([name]) => name.startsWith('x-amz-meta-'))
    .map(([name, value]) => [name.slice('x-amz-meta-'.length), [value].flat().join(',')])
}

function encryption(headers: IncomingHttpHeaders, world: World): ObjectProperties['sse'] {
  const algorithm = [headers['x-amz-server-side-encryption']].flat()[0]
  const kmsKeyId = [headers['x-amz-server-side-encryption-aws-kms-key-id']].flat()[0] ?? null
  if (algorithm === undefined && kmsKeyId === null) return { algorithm: 'AES256', kmsKeyId: null }
  if (algorithm !== 'AES256' && algorithm !== 'aws:kms') {
    throw new AwsError('InvalidArgument', 400, 'The encryption method specified is not supported')
  }
  if (algorithm === 'AES256' && kmsKeyId !== null) {
    throw new AwsError('InvalidArgument', 400, 'A KMS key needs the encryption method aws:kms')
  }
  if (kmsKeyId !== null) mustBeOurKey(kmsKeyId, world)
  return { algorithm, kmsKeyId }
}

/** Every key of the account exists and may be used; a key of another account or region may not. */
function mustBeOurKey(keyId: string, { region, accountId }: World): void {
  const own = new RegExp(`^(?:arn:aws:kms:${region}:${accountId}:)?(?:(?:key|alias)/[\\w/-]+|[0-9a-f-]{36})$`)
  if (own.test(keyId)) return
  const message = `User: sandbox is not authorized to perform: kms:GenerateDataKey on resource: ${keyId}`
  throw new AwsError('AccessDenied', 403, message)
}

export function encryptionHeaders({ sse }: Pick<ObjectProperties, 'sse'>): Record<string, string> {
  const key: Record<string, string> =
    sse.kmsKeyId === null ? {} : { 'x-amz-server-side-encryption-aws-kms-key-id': sse.kmsKeyId }
  return { 'x-amz-server-side-encryption': sse.algorithm, ...key }
}

function checksumHeaders({ checksums, checksumType }: StoredObject): Record<string, string> {
  if (checksums.size === 0) return {}
  const each = [...checksums].map(([name, value]) => [`x-amz-checksum-${name}`, value])
  return { ...Object.fromEntries(each), 'x-amz-checksum-type': checksumType }
}

/** A single range; another form is ignored, as HTTP requires. @throws AwsError InvalidRange */
function byteRange(header: string | undefined, size: number): { first: number; last: number } | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  const [from, to] = [match?.[1] ?? '', match?.[2] ?? '']
  if (!from && !to) return null
  const first = from ? Number(from) : Math.max(0, size - Number(to))
  const last = from && to ? Math.min(Number(to), size - 1) : size - 1
  if (from && to && Number(to) < first) return null
  if (first >= size) throw new AwsError('InvalidRange', 416, 'The requested range is not satisfiable')
  return { first, last }
}
