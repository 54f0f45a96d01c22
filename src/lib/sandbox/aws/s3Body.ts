import { createHash, timingSafeEqual } from 'node:crypto'
import type { Exchange } from '../http.js'
import { type ChecksumName, checksumOf, isChecksumName } from './checksums.js'
import { AwsError } from './error.js'

export interface ReadBody {
  body: Buffer
  /** Those that the request gave, as header or trailer; all of them are right. */
  checksums: [ChecksumName, string][]
}

/**
 * The payload of an upload, out of its aws-chunked frame where it has one, with every digest that came along verified.
 * @throws AwsError BadDigest, IncompleteBody, XAmzContentSHA256Mismatch and kin
 */
export function readBody({ headers, body: raw }: Exchange): ReadBody {
  const text = (name: string) => [headers[name]].flat().join(',')
  const given = new Map<string, string>()
  for (const name of Object.keys(headers)) given.set(name, text(name))

  let body = raw
  const sha256 = text('x-amz-content-sha256')
  if (sha256.startsWith('STREAMING-')) {
    const decoded = decodeChunked(raw)
    body = decoded.body
    const promised = text('x-amz-trailer').split(',').filter(Boolean)
    for (const name of promised.map((part) => part.trim().toLowerCase())) {
      const value = decoded.trailers.get(name)
      if (value === undefined) throw new AwsError('MalformedTrailerError', 400, `The trailer ${name} is missing.`)
      given.set(name, value)
    }
    if (text('x-amz-decoded-content-length') !== String(body.length)) throw incomplete()
  } else if (/^[0-9a-f]{64}$/.test(sha256) && sha256 !== createHash('sha256').update(raw).digest('hex')) {
    const message = "The provided 'x-amz-content-sha256' header does not match what was computed."
    throw new AwsError('XAmzContentSHA256Mismatch', 400, message)
  }

  const md5 = given.get('content-md5')
  if (md5 !== undefined && !sameDigest(md5, createHash('md5').update(body).digest('base64'))) {
    throw new AwsError('BadDigest', 400, 'The Content-MD5 you specified did not match what we received.')
  }
  const checksums = [...given].flatMap(([header, value]): [ChecksumName, string][] => {
    const name = header.startsWith('x-amz-checksum-') ? header.slice('x-amz-checksum-'.length) : ''
    if (!isChecksumName(name)) return []
    if (sameDigest(value, checksumOf(name, body))) return [[name, value]]
    throw new AwsError('BadDigest', 400, `The ${name.toUpperCase()} you specified did not match what we received.`)
  })
  return { body, checksums }
}

function sameDigest(given: string, computed: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(computed)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function incomplete(): AwsError {
  const message = 'You did not provide the number of bytes specified by the Content-Length HTTP header'
  return new AwsError('IncompleteBody', 400, message)
}

/** `SIZE[;chunk-signature=…]CRLF DATA CRLF … 0 CRLF trailers CRLF`: chunk signatures are not verified. */
function decodeChunked(raw: Buffer): { body: Buffer; trailers: Map<string, string> } {
  const chunks: Buffer[] = []
  let at = 0
  const line = () => {
    const end = raw.indexOf('\r\n', at)
    if (end < 0) throw incomplete()
    const text = raw.toString('latin1', at, end)
    at = end + 2
    return text
  }
  for (;;) {
    const size = /^([0-9a-f]{1,8})(?:;.*)?$/i.exec(line())?.[1]
    if (size === undefined) throw incomplete()
    const length = Number.parseInt(size, 16)
    if (length === 0) break
    if (at + length + 2 > raw.length) throw incomplete()
    chunks.push(raw.subarray(at, at + length))
    at += length + 2
  }
  const trailers = new Map<string, string>()
  while (at < raw.length) {
    const [name = '', ...value] = line().split(':')
    if (name) trailers.set(name.trim().toLowerCase(), value.join(':').trim())
  }
  return { body: Buffer.concat(chunks), trailers }
}
