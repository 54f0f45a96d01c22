import { expect } from 'chai'
import fc from 'fast-check'
import { Pace, pauseAfter } from '../../../src/lib/ops/images/sendAll.js'

describe('Pace', () => {
  it('halves the concurrency once for a burst of refusals, and recovers', () => {
    const pace = new Pace(64)
    for (const now of [1000, 1001, 1499]) pace.askedToSlowDown(now)
    expect(pace.limit).to.equal(32)
    pace.askedToSlowDown(1500)
    expect(pace.limit).to.equal(16)
    for (let i = 0; i < 17; i += 1) pace.wentWell()
    expect(pace.limit).to.equal(17)
    for (let i = 0; i < 64 * 64; i += 1) pace.wentWell()
    expect(pace.limit).to.equal(64)
  })

  it('keeps the concurrency between one and its maximum', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 512 }), fc.array(fc.boolean(), { maxLength: 200 }), (most, events) => {
        const pace = new Pace(most)
        events.forEach((slow, i) => {
          if (slow) pace.askedToSlowDown(i * 1000)
          else pace.wentWell()
          expect(pace.limit).to.be.within(1, most)
        })
      }),
    )
  })
})

describe('pauseAfter', () => {
  it('waits longer after each attempt, up to ten seconds, and then gives up', () => {
    for (const kind of ['throttled', 'passing'] as const) {
      const pauses: number[] = []
      for (let tries = 1; ; tries += 1) {
        const pause = pauseAfter(kind, tries, 1)
        if (pause === null) break
        pauses.push(pause)
      }
      expect(pauses).to.deep.equal([...pauses].sort((a, b) => a - b))
      expect(Math.max(...pauses)).to.be.at.most(10_000)
      expect(pauses.length).to.equal(kind === 'throttled' ? 14 : 8)
    }
    expect(pauseAfter('passing', 1, 0)).to.equal(50)
  })
})
