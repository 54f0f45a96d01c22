import { createHash, timingSafeEqual } from 'node:crypto'
import type { Exchange } from '../http.js'
import { type Checksum, type ChecksumName, checksum, isChecksumName } from './checksums.js'
import { type Content, ContentWriter } from './content.js'
import { AwsError } from './error.js'

type Payload = Pick<Exchange, 'headers' | 'stream'>

export interface Upload {
  content: Content
  /** MD5, in hex, for the entity tag. */
  md5: string
  /** The request's verified checksums, from headers or trailers. */
  checksums: [ChecksumName, string][]
}

/**
 * Receives the payload of an upload, unpacks aws-chunked, and verifies every digest of the request. A refused upload
 * leaves nothing. `corrupt` flips a bit before the checks.
 * @throws AwsError BadDigest, IncompleteBody, XAmzContentSHA256Mismatch and kin
 */
export async function receive({ headers, stream }: Payload, writer: ContentWriter, corrupt = false): Promise<Upload> {
  const text = (name: string) => [headers[name]].flat().join(',')
  const given = new Map<string, string>()
  for (const name of Object.keys(headers)) given.set(name, text(name))
  const sha256 = text('x-amz-content-sha256')
  const promised = text('x-amz-trailer')
    .split(',')
    .flatMap((part) => part.trim().toLowerCase() || [])

  const md5 = createHash('md5')
  const sums = new Map<ChecksumName, Checksum>()
  for (const header of [...given.keys(), ...promised]) {
    const name = header.replace(/^x-amz-checksum-/, '')
    if (name !== header && isChecksumName(name)) sums.set(name, checksum(name))
  }
  const payload = /^[0-9a-f]{64}$/.test(sha256) ? createHash('sha256') : null
  const chunked = sha256.startsWith('STREAMING-') ? new ChunkedDecoder() : null

  let size = 0
  try {
    for await (const raw of stream) {
      for (const chunk of chunked ? chunked.decode(raw) : [raw]) {
        if (corrupt && size === 0 && chunk[0] !== undefined) chunk[0] ^= 1
        size += chunk.length
        md5.update(chunk)
        payload?.update(chunk)
        for (const sum of sums.values()) sum.update(chunk)
        await writer.write(chunk)
      }
    }
    if (chunked) {
      const trailers = chunked.end()
      for (const name of promised) {
        const value = trailers.get(name)
        if (value === undefined) throw new AwsError('MalformedTrailerError', 400, `The trailer ${name} is missing.`)
        given.set(name, value)
      }
      if (text('x-amz-decoded-content-length') !== String(size)) throw incomplete()
    }
    const digest = md5.digest()
    const contentMd5 = given.get('content-md5')
    if (contentMd5 !== undefined && !sameDigest(contentMd5, digest.toString('base64'))) {
      throw new AwsError('BadDigest', 400, 'The Content-MD5 you specified did not match what we received.')
    }
    const checksums = [...sums].map(([name, sum]): [ChecksumName, string] => {
      const value = given.get(`x-amz-checksum-${name}`) ?? ''
      if (sameDigest(value, sum.digest())) return [name, value]
      throw new AwsError('BadDigest', 400, `The ${name.toUpperCase()} you specified did not match what we received.`)
    })
    if (payload && payload.digest('hex') !== sha256) {
      const message = "The provided 'x-amz-content-sha256' header does not match what was computed."
      throw new AwsError('XAmzContentSHA256Mismatch', 400, message)
    }
    return { content: await writer.end(), md5: digest.toString('hex'), checksums }
  } catch (error) {
    await writer.abandon()
    throw error
  }
}

/** The payload of a request that is an XML document. @throws AwsError like receive */
export async function receiveText(exchange: Payload): Promise<{ text: string; checked: boolean }> {
  const { content, checksums } = await receive(exchange, new ContentWriter(() => null))
  const checked = checksums.length > 0 || exchange.headers['content-md5'] !== undefined
  return { text: content.bytes().toString(), checked }
}

function sameDigest(given: string, computed: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(computed)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function incomplete(): AwsError {
  const message = 'You did not provide the number of bytes specified by the Content-Length HTTP header'
  return new AwsError('IncompleteBody', 400, message)
}

/** The limit of a frame's line, and of all trailers together. */
const LINE_LIMIT = 16 * 1024

/** `SIZE[;chunk-signature=…]CRLF DATA CRLF … 0 CRLF trailers CRLF`: chunk signatures are not verified. */
class ChunkedDecoder {
  #state: 'size' | 'data' | 'data end' | 'trailers' = 'size'
  #left = 0
  #line = ''
  readonly #trailers = new Map<string, string>()

  /** The data in the next raw bytes. @throws AwsError IncompleteBody */
  decode(raw: Buffer): Buffer[] {
    const data: Buffer[] = []
    let at = 0
    while (at < raw.length) {
      if (this.#state === 'data') {
        const chunk = raw.subarray(at, at + this.#left)
        data.push(chunk)
        at += chunk.length
        this.#left -= chunk.length
        if (this.#left === 0) this.#state = 'data end'
        continue
      }
      const end = raw.indexOf('\n', at)
      this.#line += raw.toString('latin1', at, end < 0 ? raw.length : end)
      if (this.#line.length > LINE_LIMIT) throw incomplete()
      if (end < 0) break
      at = end + 1
      const line = this.#line
      this.#line = ''
      this.#take(line)
    }
    return data
  }

  #take(line: string): void {
    if (!line.endsWith('\r')) throw incomplete()
    const text = line.slice(0, -1)
    if (this.#state === 'data end') {
      if (text !== '') throw incomplete()
      this.#state = 'size'
    } else if (this.#state === 'size') {
      const size = /^([0-9a-f]{1,8})(?:;.*)?$/i.exec(text)?.[1]
      if (size === undefined) throw incomplete()
      this.#left = Number.parseInt(size, 16)
      this.#state = this.#left === 0 ? 'trailers' : 'data'
    } else {
      const [name = '', ...value] = text.split(':')
      if (name) this.#trailers.set(name.trim().toLowerCase(), value.join(':').trim())
    }
  }

  /** @throws AwsError IncompleteBody if the last frame is missing */
  end(): Map<string, string> {
    if (this.#state !== 'trailers') throw incomplete()
    return this.#trailers
  }
}
