import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from '../http.js'
import { type ChecksumName, checksum, isChecksumName } from './checksums.js'
import type { Content } from './content.js'
import { AwsError } from './error.js'
import type { S3Request } from './s3.js'
import { encryptionHeaders } from './s3Objects.js'
import { checksumElements, invalidArgument, xmlReply } from './s3Xml.js'
import type { StoredObject } from './storage.js'
import type { World } from './world.js'

/** CopyObject within the account: content and metadata of the source, and a checksum of the requested algorithm. */
export async function copyObject(world: World, { bucket, key, exchange }: S3Request): Promise<Reply> {
  const { headers } = exchange
  const source = copySource(world, headers)
  if (source.bucket === bucket && source.key === key) {
    throw new AwsError('InvalidRequest', 400, 'This copy request is illegal because it copies an object to itself.')
  }
  const { content, contentType, metadata, etag } = source.object
  const checksums = new Map(source.object.checksums)
  const asked = [headers['x-amz-checksum-algorithm']].flat()[0]?.toLowerCase()
  if (asked !== undefined && !isChecksumName(asked)) {
    throw new AwsError('InvalidRequest', 400, 'Checksum algorithm provided is unsupported.')
  }
  if (asked !== undefined && !checksums.has(asked)) {
    const sum = checksum(asked)
    for await (const chunk of content.read()) sum.update(chunk)
    checksums.set(asked, sum.digest())
  }
  const properties = { contentType, metadata, checksums, etag: etag.replaceAll('"', '') }
  const copy = world.putObject(bucket, key, content.share(), properties)
  const reply = xmlReply('CopyObjectResult', {
    LastModified: copy.lastModified,
    ETag: copy.etag,
    ...checksumElements(checksums),
  })
  return { ...reply, headers: { ...reply.headers, ...encryptionHeaders(copy) } }
}

export interface RangeDigests {
  /** Hexadecimal. */
  md5: string
  checksums: Map<ChecksumName, string>
}

/** The digests of ranges that were copied before, which are not computed again. */
const known = new WeakMap<Content, Map<string, Promise<RangeDigests>>>()

/** The digests of the bytes from `first` to `last`, both included. */
export function digestsOf(
  content: Content,
  range: { first: number; last: number; algorithm: ChecksumName | null },
): Promise<RangeDigests> {
  const ranges = known.get(content) ?? new Map<string, Promise<RangeDigests>>()
  known.set(content, ranges)
  const name = JSON.stringify(range)
  const digests = ranges.get(name) ?? readRange(content, range)
  ranges.set(name, digests)
  return digests
}

async function readRange(content: Content, range: Parameters<typeof digestsOf>[1]): Promise<RangeDigests> {
  const { first, last, algorithm } = range
  const md5 = createHash('md5')
  const sum = algorithm === null ? null : checksum(algorithm)
  for await (const chunk of content.read(first, last)) {
    md5.update(chunk)
    sum?.update(chunk)
  }
  const checksums = new Map(algorithm === null || !sum ? [] : [[algorithm, sum.digest()]])
  return { md5: md5.digest('hex'), checksums }
}

/** The object of `x-amz-copy-source`. @throws AwsError InvalidArgument, NoSuchBucket, NoSuchKey */
export function copySource(
  world: World,
  headers: IncomingHttpHeaders,
): { bucket: string; key: string; object: StoredObject } {
  const [, bucket, key] = /^\/?([^/]+)\/(.+)$/.exec(decoded([headers['x-amz-copy-source']].flat()[0] ?? '')) ?? []
  if (bucket === undefined || key === undefined) {
    throw invalidArgument('Copy Source must mention the source bucket and key: sourcebucket/sourcekey')
  }
  const object = world.getObject(bucket, key)
  if (!object) throw new AwsError('NoSuchKey', 404, 'The specified key does not exist.')
  return { bucket, key, object }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
