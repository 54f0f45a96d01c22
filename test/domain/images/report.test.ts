import { expect } from 'chai'
import type { BlockMap } from '../../../src/lib/domain/images/blocks.js'
import { BLOCK_BYTES } from '../../../src/lib/domain/images/blocks.js'
import { progressText, sizeText } from '../../../src/lib/domain/images/progress.js'
import { changedBytes, imageReport, reportMarkdown } from '../../../src/lib/domain/images/report.js'

/** Blocks by index, each digest made of one byte. */
function mapOf(blocks: Record<number, number>): BlockMap {
  const entries = Object.entries(blocks)
  const digests = new Uint8Array(entries.length * 32)
  for (const [position, [, byte]] of entries.entries()) digests.fill(byte, position * 32, position * 32 + 32)
  return { bytes: 100 * BLOCK_BYTES, indexes: Uint32Array.from(entries, ([index]) => Number(index)), digests }
}
const info = { name: 'nixos', revision: 'f'.repeat(40), logicalBytes: 100 * BLOCK_BYTES, allocatedBytes: 123 }
const seconds = { build: 61.4, import: null, boot: 30 }

describe('imageReport', () => {
  it('counts blocks that are new or changed, not removed ones', () => {
    expect(changedBytes(mapOf({ 1: 1, 2: 2, 3: 3 }), mapOf({ 1: 1, 2: 9, 7: 7 }))).to.equal(2 * BLOCK_BYTES)
    expect(changedBytes(mapOf({ 1: 1 }), mapOf({ 1: 1 }))).to.equal(0)
  })

  it('compares an image with the previous one', () => {
    const previous = { ami: 'ami-1', revision: null, map: mapOf({ 1: 1, 2: 9 }) }
    const report = imageReport(info, {
      ami: 'ami-2',
      map: mapOf({ 1: 1, 2: 2, 3: 3, 4: 4 }),
      previous,
      seconds,
      sentBytes: 3 * BLOCK_BYTES,
    })
    expect(reportMarkdown(report).split('\n').slice(4)).to.deep.equal([
      '| AMI | ami-2 |',
      `| Revision | ${'f'.repeat(12)} |`,
      '| Size | 50.0 MiB, 2.0 MiB of them data |',
      '| Previous | ami-1 of no commit |',
      '| Data relative to previous | 200% |',
      '| Changed | 1.5 MiB, 75% of the data |',
      '| Sent | 1.5 MiB, 75% of the data |',
      '| Built in | 61 s |',
      '| Booted in | 30 s |',
    ])
  })

  it('leaves out unknown values', () => {
    const report = imageReport(info, { ami: null, map: null, previous: null, seconds, sentBytes: null })
    expect(report).to.include({ dataBytes: 123, previous: null })
    expect(reportMarkdown(report))
      .to.include('| AMI | none |')
      .and.not.match(/Before|Sent|Imported/)
  })
})

describe('progress', () => {
  it('shows share, rate and remaining time', () => {
    expect(progressText(0, 2 ** 30, 5000)).to.equal('0% of 1.0 GiB')
    expect(progressText(2 ** 29, 2 ** 30, 4000)).to.equal('50% of 1.0 GiB, 128 MiB/s, 4 s left')
    expect([0, 1023, 1024, 150 * 2 ** 20].map(sizeText)).to.deep.equal(['0 B', '1023 B', '1.0 KiB', '150 MiB'])
  })
})
