import { createHash, createHmac } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import { expect } from 'chai'
import { createObjectStore } from '../../../src/lib/adapters/aws/objectStore.js'
import { failureOf } from '../../support/failure.js'
import { BUCKET, REGION, SECRET_KEY, setEnv, startPlane, type TestPlane } from '../../support/plane.js'
import { type Responder, startServer } from '../../support/server.js'

const KEY = "heartbeats/a b/ü!'()*.json"

type Secret = string | ArrayBuffer | ArrayBufferView

/** Node's own hashes in the form that the SDK's signer asks for. */
class Sha256 {
  readonly #hash
  constructor(secret?: Secret) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as string)
  }
  update(data: string | Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {}
}

describe('reading many objects', () => {
  let plane: TestPlane
  before(async () => {
    plane = await startPlane()
  })
  after(() => plane.close())
  beforeEach(() => {
    plane.requests.length = 0
  })

  const store = () => createObjectStore({ region: REGION, bucket: BUCKET, readsMany: true })

  it('gives what the SDK gives, in one request each', async () => {
    plane.world.putObject(BUCKET, KEY, '{"a":"ü"}')
    plane.world.putObject(BUCKET, 'heartbeats/none-of-text.json', '')
    const many = store()
    await many.list('heartbeats/')
    const [read, empty, none] = [
      await many.get(KEY),
      await many.get('heartbeats/none-of-text.json'),
      await many.get('x'),
    ]
    const plain = await createObjectStore({ region: REGION, bucket: BUCKET }).get(KEY)
    expect([read, empty?.text, none]).to.deep.equal([plain, '', null])
    expect(plane.requests).to.have.length(5)
  })

  it('leaves to the SDK, and to its retries, what is not a plain answer', async () => {
    plane.world.putObject(BUCKET, 'a', '1')
    const many = store()
    await many.list('')
    for (const kind of ['reset', 'error', 'throttle'] as const) {
      plane.faults.add({ on: 's3', kind, strikes: 2 })
      expect((await many.get('a'))?.text).to.equal('1')
    }
    const restore = setEnv({ AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN000000000' })
    try {
      expect((await failureOf(store().get('a'))).code).to.equal('DENIED')
    } finally {
      restore()
    }
  })

  it('signs as the SDK does', async () => {
    const listed: Responder = (response) => {
      response.end('<ListBucketResult><Name>b</Name></ListBucketResult>')
    }
    const object: Responder = (response) => {
      response.writeHead(200, { etag: '"e"' }).end('{}')
    }
    const server = await startServer(listed, object)
    const restore = setEnv({ AWS_ENDPOINT_URL_S3: server.url, AWS_SESSION_TOKEN: 'session-token/+=' })
    try {
      const many = store()
      await many.list('')
      expect(await many.get(KEY)).to.deep.equal({ text: '{}', etag: '"e"' })
    } finally {
      restore()
      await server.close()
    }
    const { headers, url, method } = server.received[1] ?? expect.fail('nothing was read')
    expect([method, url]).to.deep.equal(['GET', `/${BUCKET}/heartbeats/a%20b/%C3%BC%21%27%28%29%2A.json`])
    const kept = ['host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token']
    const signer = new SignatureV4({
      service: 's3',
      region: REGION,
      credentials: {
        accessKeyId: process.env.AWS_ACCESS_KEY_ID ?? '',
        secretAccessKey: SECRET_KEY,
        sessionToken: 'session-token/+=',
      },
      sha256: Sha256,
      uriEscapePath: false,
    })
    const date = String(headers['x-amz-date']).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z')
    const request = {
      method: 'GET',
      protocol: 'http:',
      hostname: '127.0.0.1',
      path: url ?? '',
      query: {},
      headers: Object.fromEntries(kept.map((name) => [name, String(headers[name])])),
    }
    const signed = await signer.sign(request, { signingDate: new Date(date) })
    expect(headers.authorization).to.equal(signed.headers.authorization)
  })
})
