import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { createImageObjects } from '../../../src/lib/adapters/images/imageObjects.js'
import { sha256 } from '../../support/fakeDisk.js'
import { setEnv } from '../../support/plane.js'

describe('createImageObjects: a part copied inside S3', () => {
  const sum = sha256(Buffer.alloc(7)).toString('base64')
  const copied = (checksum: string) =>
    `<CopyPartResult><ETag>&quot;e&quot;</ETag><ChecksumSHA256>${checksum}</ChecksumSHA256></CopyPartResult>`
  const failed = (code: string) => `<Error><Code>${code}</Code><Message>m</Message></Error>`
  const table: [why: string, status: number, text: string, outcome: unknown][] = [
    ['uses the copy', 200, copied(sum), { ok: true, value: { number: 3, bytes: 7, etag: '"e"', sha256: sum } }],
    ['does not use a copy with other bytes', 200, copied('AAAA'), null],
    ['does not use a copy without a checksum', 200, copied('').replace(/<Checksum.*56>/, ''), null],
    ['sends the part if the copy is refused', 403, failed('AccessDenied'), null],
    ['retries a copy that failed after the answer began', 200, failed('InternalError'), 'passing'],
    ['retries a throttled copy', 503, failed('SlowDown'), 'throttled'],
  ]
  for (const [why, status, text, expected] of table) {
    it(`${why}: ${status}`, async () => {
      const seen: IncomingMessage[] = []
      const server = createServer((request, response) => {
        seen.push(request)
        response.writeHead(status).end(text)
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const restore = setEnv({
        AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        AWS_ACCESS_KEY_ID: 'AKIA',
        AWS_SECRET_ACCESS_KEY: 'not verified',
      })
      try {
        const stop = new AbortController().signal
        const objects = createImageObjects({ region: 'eu-central-1', bucket: 'b', connections: 1, stop })
        const part = {
          key: 'images/a.raw',
          uploadId: 'a/b',
          number: 3,
          bytes: 7,
          sha256: sum,
          from: 'images/zeros/9',
        }
        const outcome = await objects.copyPart(part)
        expect(outcome && !outcome.ok ? outcome.kind : outcome).to.deep.equal(expected)
        expect(seen.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
          'PUT /b/images/a.raw?partNumber=3&uploadId=a%2Fb&x-id=UploadPartCopy',
        ])
        expect(seen[0]?.headers).to.deep.include({
          'x-amz-copy-source': 'b/images/zeros/9',
          'x-amz-copy-source-range': 'bytes=0-6',
          'content-length': '0',
        })
      } finally {
        restore()
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    })
  }
})
