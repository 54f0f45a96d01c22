import { createHash } from 'node:crypto'
import type { Reply } from '../http.js'
import { type ChecksumName, checksumOf, isChecksumName, isCrc, joinCrcs } from './checksums.js'
import { Content } from './content.js'
import { AwsError } from './error.js'
import type { S3Request } from './s3.js'
import { receiveText } from './s3Body.js'
import { copySource, digestsOf, type RangeDigests } from './s3Copy.js'
import { encryptionHeaders, objectProperties, writeConditions } from './s3Objects.js'
import { checksumElements, invalidArgument, malformedXml, urlEncoded, xmlReply } from './s3Xml.js'
import type { MultipartUpload, Part } from './storage.js'
import type { World } from './world.js'
import { unescapeXml } from './xml.js'

/** S3's limit, for every part except the last. */
const MIN_PART_SIZE = 5 * 1024 * 1024
const MAX_PART_SIZE = 5 * 1024 ** 3
const MAX_PARTS = 10_000
const PAGE = 1000

/** CreateMultipartUpload. */
export function createUpload(world: World, { bucket, key, exchange }: S3Request): Reply {
  const { headers } = exchange
  const algorithm = text(headers['x-amz-checksum-algorithm'])?.toLowerCase() ?? null
  const type = text(headers['x-amz-checksum-type'])
  if (algorithm !== null && !isChecksumName(algorithm)) {
    throw invalidRequest('Checksum algorithm provided is unsupported. Please try again with any of the valid types')
  }
  if (type !== undefined && (algorithm === null || (type !== 'COMPOSITE' && type !== 'FULL_OBJECT'))) {
    throw invalidRequest('The x-amz-checksum-type header needs an algorithm, and is COMPOSITE or FULL_OBJECT.')
  }
  const checksumType = type ?? (algorithm === null || algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE')
  if (algorithm !== null && (checksumType === 'FULL_OBJECT' ? !isCrc(algorithm) : algorithm === 'crc64nvme')) {
    const message = `The ${checksumType} checksum type cannot be used with the ${algorithm} checksum algorithm.`
    throw invalidRequest(message)
  }
  const upload = world.startUpload({ bucket, key, ...objectProperties(headers, world), algorithm, checksumType })
  const about: Record<string, string> =
    algorithm === null
      ? {}
      : { 'x-amz-checksum-algorithm': algorithm.toUpperCase(), 'x-amz-checksum-type': checksumType }
  const reply = xmlReply('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId: upload.id })
  return { ...reply, headers: { ...reply.headers, ...about, ...encryptionHeaders(upload) } }
}

/** UploadPart. The same number again replaces the earlier part. */
export async function uploadPart(world: World, request: S3Request): Promise<Reply> {
  const { exchange } = request
  if (exchange.headers['x-amz-copy-source'] !== undefined) return copyPart(world, request)
  const number = partNumber(exchange.url.searchParams.get('partNumber'))
  const upload = uploadOf(world, request)
  if (Number(exchange.headers['content-length'] ?? 0) > MAX_PART_SIZE) throw tooLarge()
  const { content, md5, checksums } = await request.receive()
  try {
    const [given] = checksums
    if (upload.algorithm !== null && given && given[0] !== upload.algorithm) {
      const message = `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm}, actual checksum Type: ${given[0]}`
      throw invalidRequest(message)
    }
    // it may have been aborted meanwhile
    uploadOf(world, request)
  } catch (error) {
    await content.discard()
    throw error
  }
  void upload.parts.get(number)?.content.discard()
  const part: Part = { content, etag: `"${md5}"`, lastModified: world.now(), checksums: new Map(checksums) }
  upload.parts.set(number, part)
  const sums = checksums.map(([name, value]) => [`x-amz-checksum-${name}`, value])
  return { status: 200, headers: { etag: part.etag, ...Object.fromEntries(sums), ...encryptionHeaders(upload) } }
}

/** UploadPartCopy: a part from another object, all of it or a range. */
async function copyPart(world: World, request: S3Request): Promise<Reply> {
  const { headers, url } = request.exchange
  const number = partNumber(url.searchParams.get('partNumber'))
  const upload = uploadOf(world, request)
  const { object } = copySource(world, headers)
  const range = /^bytes=(\d+)-(\d+)$/.exec(
    text(headers['x-amz-copy-source-range']) ?? `bytes=0-${object.content.size - 1}`,
  )
  const [first, last] = [Number(range?.[1] ?? -1), Number(range?.[2] ?? -1)]
  if (!range || first > last || last >= object.content.size) {
    throw invalidArgument('The x-amz-copy-source-range value is not valid for the source object')
  }
  if (headers['x-amz-copy-source-range'] !== undefined && object.content.size <= MIN_PART_SIZE) {
    throw invalidRequest('The specified copy source is not supported as a byte-range copy source')
  }
  const content = object.content.share(first, last)
  let digests: RangeDigests
  try {
    digests = await digestsOf(object.content, { first, last, algorithm: upload.algorithm })
    // it may have been completed meanwhile: the parts are the object's then
    uploadOf(world, request)
  } catch (error) {
    await content.discard()
    throw error
  }
  void upload.parts.get(number)?.content.discard()
  const { md5, checksums } = digests
  const part: Part = { content, etag: `"${md5}"`, lastModified: world.now(), checksums }
  upload.parts.set(number, part)
  const { etag: ETag, lastModified: LastModified } = part
  return xmlReply('CopyPartResult', { LastModified, ETag, ...checksumElements(checksums) })
}

/** ListParts. As in S3, the last page has a marker too (0 on an empty one): only IsTruncated shows the end. */
export function listParts(world: World, request: S3Request): Reply {
  const query = request.exchange.url.searchParams
  const upload = uploadOf(world, request)
  const limit = pageSize('max-parts', query.get('max-parts'))
  const marker = Number(query.get('part-number-marker') ?? 0)
  if (!Number.isInteger(marker) || marker < 0) throw invalidArgument('Provided part-number-marker not an integer')
  const behind = inOrder(upload).filter(([number]) => number > marker)
  const shown = behind.slice(0, limit)
  return xmlReply('ListPartsResult', {
    Bucket: upload.bucket,
    Key: upload.key,
    UploadId: upload.id,
    PartNumberMarker: marker,
    NextPartNumberMarker: shown.at(-1)?.[0] ?? 0,
    MaxParts: limit,
    IsTruncated: shown.length < behind.length,
    StorageClass: 'STANDARD',
    ChecksumAlgorithm: upload.algorithm?.toUpperCase(),
    ChecksumType: upload.algorithm === null ? undefined : upload.checksumType,
    Part: shown.map(([number, part]) => ({
      PartNumber: number,
      LastModified: part.lastModified,
      ETag: part.etag,
      Size: part.content.size,
      ...checksumElements(part.checksums),
    })),
  })
}

/** ListMultipartUploads: by key, then by age. */
export function listUploads(world: World, { bucket, exchange }: S3Request): Reply {
  world.bucket(bucket)
  const query = exchange.url.searchParams
  const prefix = query.get('prefix') ?? ''
  const limit = pageSize('max-uploads', query.get('max-uploads'))
  const encoding = query.get('encoding-type')
  const encoded = urlEncoded(encoding)
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '')
  const all = [...world.uploads.values()]
    .filter((upload) => upload.bucket === bucket && upload.key.startsWith(prefix))
    .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
  const at = all.findIndex((upload) => upload.key === keyMarker && upload.id === idMarker)
  const behind =
    at >= 0
      ? all.slice(at + 1)
      : all.filter((upload) => Buffer.compare(Buffer.from(upload.key), Buffer.from(keyMarker)) > 0)
  const shown = behind.slice(0, limit)
  const last = shown.at(-1)
  return xmlReply('ListMultipartUploadsResult', {
    Bucket: bucket,
    Prefix: encoded(prefix),
    KeyMarker: encoded(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: last && encoded(last.key),
    NextUploadIdMarker: last?.id,
    MaxUploads: limit,
    EncodingType: encoding ?? undefined,
    IsTruncated: shown.length < behind.length,
    Upload: shown.map((upload) => ({
      Key: encoded(upload.key),
      UploadId: upload.id,
      Initiated: upload.initiated,
      StorageClass: 'STANDARD',
      ChecksumAlgorithm: upload.algorithm?.toUpperCase(),
      ChecksumType: upload.algorithm === null ? undefined : upload.checksumType,
    })),
  })
}

/** AbortMultipartUpload. */
export async function abortUpload(world: World, request: S3Request): Promise<Reply> {
  await world.endUpload(uploadOf(world, request))
  return { status: 204 }
}

/** CompleteMultipartUpload, with If-None-Match: * and If-Match. */
export async function completeUpload(world: World, request: S3Request): Promise<Reply> {
  const { bucket, key, exchange } = request
  const conditions = writeConditions(exchange.headers)
  const upload = uploadOf(world, request)
  const named = parseComplete(await textOf(exchange))
  const parts = named.map((part) => checkedPart(upload, part))
  if (parts.some(({ number }, index) => number <= (parts[index - 1]?.number ?? 0))) {
    const message =
      'The list of parts was not in ascending order. The parts list must be specified in order by part number.'
    throw new AwsError('InvalidPartOrder', 400, message)
  }
  if (parts.slice(0, -1).some(({ part }) => part.content.size < MIN_PART_SIZE)) {
    throw new AwsError('EntityTooSmall', 400, 'Your proposed upload is smaller than the minimum allowed size')
  }
  const content = Content.join(parts.map(({ part }) => part.content))
  const promised = text(exchange.headers['x-amz-mp-object-size'])
  if (promised !== undefined && Number(promised) !== content.size) {
    throw invalidRequest(
      `The provided 'x-amz-mp-object-size' header value ${promised} does not match what was computed: ${content.size}`,
    )
  }
  const whole = wholeChecksum(upload, parts)
  if (whole) mustMatch(exchange.headers[`x-amz-checksum-${whole[0]}`], whole)
  // it may have been aborted or completed meanwhile
  uploadOf(world, request)
  world.mustHold(bucket, key, conditions)
  const digests = Buffer.concat(parts.map(({ part }) => Buffer.from(part.etag.slice(1, -1), 'hex')))
  const object = world.putObject(bucket, key, content, {
    ...upload,
    etag: `${createHash('md5').update(digests).digest('hex')}-${parts.length}`,
    checksums: whole ? [whole] : [],
    checksumType: upload.checksumType,
  })
  await world.endUpload(upload, new Set(parts.map(({ number }) => number)))
  const reply = xmlReply('CompleteMultipartUploadResult', {
    Location: `http://${exchange.headers.host}/${bucket}/${encodeURIComponent(key)}`,
    Bucket: bucket,
    Key: key,
    ETag: object.etag,
    ...checksumElements(object.checksums),
    ChecksumType: whole ? object.checksumType : undefined,
  })
  return { ...reply, headers: { ...reply.headers, ...encryptionHeaders(object) } }
}

/** The checksum headers of a CompleteMultipartUpload are the object's, not the document's. */
async function textOf({ headers, stream }: S3Request['exchange']): Promise<string> {
  const own = Object.entries(headers).filter(([name]) => !name.startsWith('x-amz-checksum-'))
  return (await receiveText({ headers: Object.fromEntries(own), stream })).text
}

interface NamedPart {
  number: number
  etag: string
  checksums: [ChecksumName, string][]
}

/** Regular expressions are enough, because elements only contain escaped text. @throws AwsError MalformedXML */
function parseComplete(xml: string): NamedPart[] {
  const root =
    /^\s*(?:<\?xml[^>]*\?>)?\s*<CompleteMultipartUpload(?:\s[^>]*)?>([\s\S]*)<\/CompleteMultipartUpload>\s*$/.exec(
      xml,
    )?.[1]
  if (root === undefined || root.includes('<!')) throw malformedXml()
  const parts = [...root.matchAll(/<Part>([\s\S]*?)<\/Part>/g)].map(([, inner = '']): NamedPart => {
    const values = new Map([...inner.matchAll(/<(\w+)>([^<]*)<\/\1>/g)].map(([, name, value = '']) => [name, value]))
    const etag = values.get('ETag')
    if (etag === undefined) throw malformedXml()
    const checksums = [...values].flatMap(([name = '', value]): [ChecksumName, string][] => {
      const algorithm = name.replace(/^Checksum/, '').toLowerCase()
      return isChecksumName(algorithm) ? [[algorithm, unescapeXml(value)]] : []
    })
    return { number: partNumber(values.get('PartNumber') ?? null), etag: bare(unescapeXml(etag)), checksums }
  })
  if (parts.length === 0 || parts.length > MAX_PARTS) throw malformedXml()
  return parts
}

interface CheckedPart {
  number: number
  part: Part
}

/** @throws AwsError InvalidPart, InvalidRequest */
function checkedPart(upload: MultipartUpload, { number, etag, checksums }: NamedPart): CheckedPart {
  const part = upload.parts.get(number)
  const same = checksums.every(([name, value]) => (part?.checksums.get(name) ?? value) === value)
  if (!part || bare(part.etag) !== etag || !same) {
    const message =
      "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    throw new AwsError('InvalidPart', 400, message)
  }
  const { algorithm } = upload
  if (algorithm !== null && upload.checksumType === 'COMPOSITE' && !checksums.some(([name]) => name === algorithm)) {
    const message = `The upload was created using a ${algorithm} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`
    throw invalidRequest(message)
  }
  return { number, part }
}

/** Null if the upload was started without an algorithm. @throws AwsError InvalidRequest */
function wholeChecksum(
  { algorithm, checksumType }: MultipartUpload,
  parts: CheckedPart[],
): [ChecksumName, string] | null {
  if (algorithm === null) return null
  const sums = parts.map(({ number, part }) => {
    const sum = part.checksums.get(algorithm)
    if (sum === undefined) throw invalidRequest(`Part ${number} was uploaded without a ${algorithm} checksum.`)
    return { sum, size: part.content.size }
  })
  if (checksumType === 'FULL_OBJECT' && isCrc(algorithm)) return [algorithm, joinCrcs(algorithm, sums)]
  const joined = Buffer.concat(sums.map(({ sum }) => Buffer.from(sum, 'base64')))
  return [algorithm, `${checksumOf(algorithm, joined)}-${parts.length}`]
}

function mustMatch(header: string | string[] | undefined, [name, value]: [ChecksumName, string]): void {
  const given = text(header)
  if (given === undefined || given === value || (!given.includes('-') && value.startsWith(`${given}-`))) return
  const message = `The ${name.toUpperCase()} you specified did not match the calculated checksum.`
  throw new AwsError('BadDigest', 400, message)
}

/** @throws AwsError NoSuchBucket, NoSuchUpload */
function uploadOf(world: World, { bucket, key, exchange }: S3Request): MultipartUpload {
  return world.upload(bucket, key, exchange.url.searchParams.get('uploadId') ?? '')
}

function inOrder({ parts }: MultipartUpload): [number, Part][] {
  return [...parts].sort(([a], [b]) => a - b)
}

function partNumber(given: string | null): number {
  const number = /^\d{1,5}$/.test(given ?? '') ? Number(given) : 0
  if (number >= 1 && number <= MAX_PARTS) return number
  throw invalidArgument(`Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`)
}

function pageSize(name: string, given: string | null): number {
  if (given === null) return PAGE
  if (!/^\d{1,9}$/.test(given)) throw invalidArgument(`Provided ${name} not an integer or within integer range`)
  return Math.min(Number(given), PAGE)
}

function bare(etag: string): string {
  return etag.replace(/^"|"$/g, '')
}

function text(header: string | string[] | undefined): string | undefined {
  return [header].flat()[0]
}

function tooLarge(): AwsError {
  return new AwsError('EntityTooLarge', 400, 'Your proposed upload exceeds the maximum allowed size')
}

function invalidRequest(message: string): AwsError {
  return new AwsError('InvalidRequest', 400, message)
}
