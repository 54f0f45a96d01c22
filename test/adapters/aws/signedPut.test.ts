import { expect } from 'chai'
import { createSnapshots } from '../../../src/lib/adapters/images/snapshots.js'
import type { Attempt } from '../../../src/lib/ops/images/ports.js'
import { failureOf } from '../../support/failure.js'
import { REGION, setEnv } from '../../support/plane.js'
import { startServer, type TestServer } from '../../support/server.js'

const MINUTE = 60_000
const DATE = /^(....)(..)(..)T(..)(..)(..)Z$/

/** EBS with a clock that is ahead of ours. It refuses signatures of a time more than five minutes from its own. */
const ebsAhead = (byMs: number, { always = false, name = 'InvalidSignatureException' } = {}) =>
  startServer((response, { headers }) => {
    const now = Date.now() + byMs
    const signedFor = Date.parse(String(headers['x-amz-date']).replace(DATE, '$1-$2-$3T$4:$5:$6Z'))
    const refused = always || Math.abs(signedFor - now) > 5 * MINUTE
    response.writeHead(refused ? 403 : 201, {
      date: new Date(now).toUTCString(),
      ...(refused ? { 'x-amzn-errortype': name } : {}),
    })
    response.end(JSON.stringify(refused ? { message: 'Signature not yet current' } : {}))
  })

describe('the signed PUT of a machine with a wrong clock', () => {
  let server: TestServer
  let restore: () => void
  let put: () => Promise<Attempt<unknown>>
  const open = async (opening: Promise<TestServer>) => {
    server = await opening
    restore = setEnv({
      AWS_ENDPOINT_URL_EBS: server.url,
      AWS_ACCESS_KEY_ID: 'AKIAX',
      AWS_SECRET_ACCESS_KEY: 'not a secret',
    })
    const stop = new AbortController().signal
    const snapshots = createSnapshots({ region: REGION, bucket: 'b', connections: 4, stop })
    const block = { snapshotId: 'snap-0123456789abcdef0', index: 0, data: new Uint8Array(512) }
    put = () => snapshots.putBlock({ ...block, sha256: new Uint8Array(32) })
  }
  afterEach(async () => {
    restore()
    await server.close()
  })

  for (const minutes of [20, -20]) {
    it(`uses the service's time from the second attempt on, with a difference of ${minutes} minutes`, async () => {
      await open(ebsAhead(minutes * MINUTE))
      const first = await Promise.all([put(), put(), put()])
      expect(first.map((one) => !one.ok && one.kind)).to.deep.equal(['passing', 'passing', 'passing'])
      const second = await Promise.all([put(), put(), put()])
      expect(second.map((one) => one.ok)).to.deep.equal([true, true, true])
    })
  }

  it("reports the clock's difference if signing with the service's time does not help", async () => {
    await open(ebsAhead(-20 * MINUTE, { always: true }))
    expect(await put()).to.include({ ok: false, kind: 'passing' })
    const error = await failureOf(put())
    expect(error.code).to.equal('DENIED')
    expect(error.message).to.match(/the clock of this machine is 20m ahead \(InvalidSignatureException\)/)
    expect(error.hint).to.include('Set the clock')
  })

  it('does not blame a clock that is right', async () => {
    await open(ebsAhead(1 * MINUTE, { always: true, name: 'SignatureDoesNotMatch' }))
    const error = await failureOf(put())
    expect(error.message).to.include('SignatureDoesNotMatch').and.not.include('clock')
    expect(server.received).to.have.length(1)
  })
})
