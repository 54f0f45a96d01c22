import { expect } from 'chai'
import fc from 'fast-check'
import { nearest } from '../../src/lib/domain/nearest.js'

describe('nearest', () => {
  const ids = ['all', 'clawdinator-1', 'clawdinator-2', 'other-host']
  const table: [word: string, expected: string | null][] = [
    ['clawdinator-1', 'clawdinator-1'],
    ['clawdinator1', 'clawdinator-1'],
    ['CLAWDINATOR-2', 'clawdinator-2'],
    ['clawdintor-22', 'clawdinator-2'],
    ['al', 'all'],
    ['al!!', 'all'],
    ['clawd', null],
    ['something-else', null],
    ['', null],
  ]
  for (const [word, expected] of table) {
    it(`finds ${expected} for ${JSON.stringify(word)}`, () => expect(nearest(word, ids)).to.equal(expected))
  }

  it('returns null if there is no candidate', () => expect(nearest('all', [])).to.equal(null))

  it('returns a candidate or null, and the word itself if it is one', () => {
    const word = fc.stringMatching(/^[a-z-]{1,12}$/)
    fc.assert(
      fc.property(word, fc.array(word), (text, words) => {
        expect([...words, null]).to.include(nearest(text, words))
        expect(nearest(text, [...words, text])).to.equal(text)
      }),
    )
  })
})
