import type { Reply } from '../http.js'
import { type ChecksumName, checksumOf, isChecksumName } from './checksums.js'
import { AwsError } from './error.js'
import type { ObjectRequest } from './s3Objects.js'
import type { World } from './world.js'
import { xmlDocument } from './xml.js'

/** CopyObject within the account: content and metadata of the source, a checksum of the algorithm that is asked for. */
export function copyObject(world: World, { bucket, key, exchange }: ObjectRequest): Reply {
  const source = readSource([exchange.headers['x-amz-copy-source']].flat()[0] ?? '')
  const object = world.getObject(source.bucket, source.key)
  if (!object) throw new AwsError('NoSuchKey', 404, 'The specified key does not exist.')
  if (source.bucket === bucket && source.key === key) {
    throw new AwsError('InvalidRequest', 400, 'This copy request is illegal because it copies an object to itself.')
  }
  const asked = [exchange.headers['x-amz-checksum-algorithm']].flat()[0]?.toLowerCase()
  const checksums = new Map(object.checksums)
  if (asked !== undefined) {
    if (!isChecksumName(asked)) throw new AwsError('InvalidRequest', 400, 'Checksum algorithm provided is unsupported.')
    if (!checksums.has(asked)) checksums.set(asked, checksumOf(asked, object.body))
  }
  // The content is the same one: many bundles share a large archive.
  const copy = { ...object, checksums, sse: { algorithm: 'AES256', kmsKeyId: null }, lastModified: world.now() }
  world.bucket(bucket).set(key, copy)
  const each = [...checksums].map(([name, value]) => [`Checksum${XML_NAMES[name]}`, value])
  const result = { LastModified: copy.lastModified, ETag: copy.etag, ...Object.fromEntries(each) }
  return {
    status: 200,
    headers: { 'content-type': 'application/xml', 'x-amz-server-side-encryption': copy.sse.algorithm },
    body: xmlDocument('CopyObjectResult', result, 'http://s3.amazonaws.com/doc/2006-03-01/'),
  }
}

const XML_NAMES: Record<ChecksumName, string> = {
  crc32: 'CRC32',
  crc32c: 'CRC32C',
  crc64nvme: 'CRC64NVME',
  sha1: 'SHA1',
  sha256: 'SHA256',
}

function readSource(header: string): { bucket: string; key: string } {
  let text: string
  try {
    text = decodeURIComponent(header).replace(/^\//, '')
  } catch {
    text = ''
  }
  const slash = text.indexOf('/')
  if (slash > 0 && slash < text.length - 1) return { bucket: text.slice(0, slash), key: text.slice(slash + 1) }
  throw new AwsError(
    'InvalidArgument',
    400,
    'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
  )
}
