import { expect } from 'chai'
import * as fc from 'fast-check'
import { imageOf, NEW } from '../support/fakes.js'
import { anyEvent, calmPorts, createProbe } from './fuzz.js'

/** `npm run fuzz` runs more, with another seed each time. */
const RUNS = 5000
const SEED = 20261122

describe('Control API: any event', () => {
  it(`answers ${RUNS} generated events by the contract, none with 5xx, and leaks no token`, async function () {
    this.timeout(120_000)
    const probe = createProbe()
    const seen = new Map<number, number>()
    await fc.assert(
      fc.asyncProperty(anyEvent, async (event) => {
        const status = await probe(event)
        seen.set(status, (seen.get(status) ?? 0) + 1)
      }),
      { numRuns: RUNS, seed: SEED },
    )
    // Most events are nearly valid; otherwise only authentication would be tested.
    for (const status of [200, 202, 400, 401, 403, 404, 405, 409, 413]) {
      expect(seen.get(status) ?? 0, `${status} of ${JSON.stringify([...seen])}`).to.be.above(5)
    }
  })

  it('would detect an upstream that throws, and a token in an answer', async () => {
    const ports = calmPorts()
    const headers = { authorization: 'Bearer cct_fuzz_current_0123456789' }
    const event = { rawPath: '/v1/fleet', headers, requestContext: { http: { method: 'GET' } } }
    const wordOf = (changed: typeof ports) =>
      createProbe(changed)(event).then(
        () => 'nothing',
        (error: Error) => error.message,
      )
    expect(await wordOf(ports)).to.equal('nothing')
    const describeHosts = async () => {
      throw new TypeError('x is undefined')
    }
    expect(await wordOf({ ...ports, compute: { ...ports.compute, describeHosts } })).to.match(/^500: /)
    const fleetImages = async () => [imageOf({ ...NEW, name: 'cct_fuzz_caller_0123456789' })]
    expect(await wordOf({ ...ports, compute: { ...ports.compute, fleetImages } })).to.match(/^a token in the output/)
  })
})
