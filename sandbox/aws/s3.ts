import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Endpoint, Exchange, Reply } from '../http.js'
import { type AwsEndpointOptions, awsEndpoint, credentialOf } from './awsEndpoint.js'
import { AwsError } from './error.js'
import { receive, type Upload } from './s3Body.js'
import { createBucket, deleteObjects, headBucket, listObjects } from './s3Buckets.js'
import { copyObject } from './s3Copy.js'
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart } from './s3Multipart.js'
import { deleteObject, getObject, putObject } from './s3Objects.js'
import type { World } from './world.js'
import { xmlDocument } from './xml.js'

interface Target {
  bucket: string
  /** Empty where the request is about the bucket itself. */
  key: string
}

/** The input of an operation. */
export interface S3Request extends Target {
  exchange: Exchange
  /** Receives the payload as the content of an object or a part. */
  receive(): Promise<Upload>
}

interface Operation {
  run(world: World, request: S3Request): Promise<Reply> | Reply
  /** Query parameters and headers it understands, beyond those of every request. */
  query?: readonly string[]
  headers?: readonly string[]
}

const UPLOAD_ID = 'uploadId'
const PROPERTIES = ['x-amz-meta-*', 'x-amz-server-side-encryption*']
const UPLOAD = ['x-amz-sdk-checksum-algorithm', 'x-amz-checksum-*', 'x-amz-trailer', 'x-amz-decoded-content-length']
const READ: Operation = { run: getObject, headers: ['if-match', 'if-none-match', 'range', 'x-amz-checksum-mode'] }
const OBJECT_OPERATIONS: Record<string, Operation> = {
  PUT: { run: putObject, headers: [...UPLOAD, ...PROPERTIES, 'if-match', 'if-none-match'] },
  'PUT x-amz-copy-source': { run: copyObject, headers: ['x-amz-copy-source', 'x-amz-checksum-algorithm'] },
  GET: READ,
  HEAD: READ,
  DELETE: { run: deleteObject },
  'POST uploads': {
    run: createUpload,
    query: ['uploads'],
    headers: [...PROPERTIES, 'x-amz-checksum-algorithm', 'x-amz-checksum-type'],
  },
  'PUT uploadId': {
    run: uploadPart,
    query: [UPLOAD_ID, 'partNumber'],
    headers: [...UPLOAD, 'x-amz-copy-source', 'x-amz-copy-source-range'],
  },
  'GET uploadId': { run: listParts, query: [UPLOAD_ID, 'max-parts', 'part-number-marker'] },
  'POST uploadId': {
    run: completeUpload,
    query: [UPLOAD_ID],
    headers: [...UPLOAD, 'if-match', 'if-none-match', 'x-amz-mp-object-size'],
  },
  'DELETE uploadId': { run: abortUpload, query: [UPLOAD_ID] },
}
const LIST_QUERY = ['prefix', 'delimiter', 'max-keys', 'continuation-token', 'start-after', 'encoding-type']
const BUCKET_OPERATIONS: Record<string, Operation> = {
  PUT: { run: createBucket, headers: UPLOAD },
  HEAD: { run: headBucket },
  'GET list-type=2': { run: listObjects, query: ['list-type', ...LIST_QUERY] },
  'GET uploads': {
    run: listUploads,
    query: ['uploads', 'prefix', 'max-uploads', 'key-marker', 'upload-id-marker', 'encoding-type'],
  },
  'POST delete': { run: deleteObjects, query: ['delete'], headers: UPLOAD },
}

const EVERY_REQUEST = ['x-amz-date', 'x-amz-content-sha256', 'x-amz-user-agent', 'x-amz-security-token']
/** Headers without the x-amz- prefix that would change what an operation does or stores. */
const MEANINGFUL =
  /^(?:x-amz-.*|if-.*|range|cache-control|content-disposition|content-language|content-encoding|expires)$/

/**
 * The part of S3's REST API that the control plane uses, on loopback, in path style or with the bucket in the Host header.
 * A request must be signed with SigV4 under the sandbox's access key id; the signature itself is not verified. An
 * operation, query parameter or header that is not emulated is refused, never ignored.
 */
export function s3Endpoint(world: World, options: AwsEndpointOptions): Promise<Endpoint> {
  return awsEndpoint(options, {
    service: 's3',
    streams: true,
    failures: FAILURES,
    answer: (exchange) => answer(world, options, exchange),
    errorReply,
  })
}

const FAILURES = {
  throttle: new AwsError('SlowDown', 503, 'Please reduce your request rate.'),
  error: new AwsError('InternalError', 500, 'We encountered an internal error. Please try again.'),
  expired: new AwsError('ExpiredToken', 400, 'The provided token has expired.'),
}

async function answer(world: World, { accessKeyId, faults }: AwsEndpointOptions, exchange: Exchange): Promise<Reply> {
  const credential = credentialOf(exchange.headers)
  if (credential === null) throw new AwsError('AccessDenied', 403, 'Access Denied: no SigV4 Authorization header')
  if (credential.accessKeyId !== accessKeyId) {
    const message = `The AWS Access Key Id you provided does not exist in our records: the sandbox does not know ${credential.accessKeyId}`
    throw new AwsError('InvalidAccessKeyId', 403, message)
  }
  const target = locate(exchange)
  const operation = findOperation(exchange, target)
  // This endpoint acts for every region: like S3, it redirects a client of another region to the bucket's own.
  if (credential.region !== world.region && world.buckets.has(target.bucket)) throw permanentRedirect(world.region)
  const request = {
    ...target,
    exchange,
    receive: () => receive(exchange, world.writer(), faults.corrupts('s3')),
  }
  const reply = await operation.run(world, request)
  return { ...reply, headers: { 'x-amz-request-id': requestId(), ...reply.headers } }
}

function permanentRedirect(region: string): AwsError {
  const message = `The bucket you are attempting to access must be addressed using the specified endpoint: it is in ${region}.`
  return new AwsError('PermanentRedirect', 301, message, { headers: { 'x-amz-bucket-region': region } })
}

/** @throws AwsError InvalidURI, KeyTooLongError */
function locate({ headers, url }: Exchange): Target {
  let path: string
  try {
    path = decodeURIComponent(url.pathname).slice(1)
  } catch {
    throw new AwsError('InvalidURI', 400, "Couldn't parse the specified URI.")
  }
  const host = (headers.host ?? '').replace(/:\d+$/, '')
  const virtual = /^(.+?)\.(?:localhost|127\.0\.0\.1|s3[.-].*amazonaws\.com)$/.exec(host)?.[1]
  const slash = path.indexOf('/')
  const target = virtual
    ? { bucket: virtual, key: path }
    : slash < 0
      ? { bucket: path, key: '' }
      : { bucket: path.slice(0, slash), key: path.slice(slash + 1) }
  if (Buffer.byteLength(target.key) > 1024) throw new AwsError('KeyTooLongError', 400, 'Your key is too long')
  return target
}

function findOperation({ method, url, headers }: Exchange, { bucket, key }: Target): Operation {
  const query = url.searchParams
  const list = query.get('list-type') === '2' ? ' list-type=2' : ''
  const sub =
    ['uploads', ...(key === '' ? ['delete'] : [UPLOAD_ID])].find((name) => query.has(name)) ??
    (method === 'PUT' && headers['x-amz-copy-source'] !== undefined ? 'x-amz-copy-source' : undefined)
  const name = `${method}${key === '' ? list : ''}${sub ? ` ${sub}` : ''}`
  const table = key !== '' ? OBJECT_OPERATIONS : BUCKET_OPERATIONS
  const operation = bucket !== '' && Object.hasOwn(table, name) ? table[name] : undefined
  if (!operation) throw notImplemented(`${method} ${url.pathname}${url.search}`)
  // x-id only names the operation for logs
  const parameter = [...query.keys()].find((p) => p !== 'x-id' && !operation.query?.includes(p))
  if (parameter !== undefined) throw notImplemented(`the query parameter ${parameter} here`)
  const header = Object.keys(headers).find((h) => MEANINGFUL.test(h) && !understands(operation, h, headers))
  if (header !== undefined) throw notImplemented(`the header ${header} here`)
  return operation
}

function understands(operation: Operation, header: string, headers: IncomingHttpHeaders): boolean {
  if (header === 'content-encoding') return headers[header] === 'aws-chunked'
  return [...EVERY_REQUEST, ...(operation.headers ?? [])].some((known) =>
    known.endsWith('*') ? header.startsWith(known.slice(0, -1)) : header === known,
  )
}

function notImplemented(what: string): AwsError {
  return new AwsError('NotImplemented', 501, `The sandbox does not emulate ${what}`)
}

function errorReply({ code, message, status, headers }: AwsError, resource?: string): Reply {
  const id = requestId()
  const body = xmlDocument('Error', { Code: code, Message: message, Resource: resource, RequestId: id })
  return { status, headers: { 'content-type': 'application/xml', 'x-amz-request-id': id, ...headers }, body }
}

function requestId(): string {
  return randomBytes(8).toString('hex').toUpperCase()
}
