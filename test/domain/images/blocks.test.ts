import { expect } from 'chai'
import fc from 'fast-check'
import {
  BLOCK_BYTES,
  type BlockMap,
  BlockMapBuilder,
  blockCountOf,
  blocksOf,
  decodeBlockMap,
  digestAt,
  encodeBlockMap,
  MAX_UPLOAD_BYTES,
  partsOf,
  planBlocks,
  volumeGib,
} from '../../../src/lib/domain/images/blocks.js'

const GIB = 1024 ** 3
const BLOCKS = 64
const SIZE = BLOCKS * BLOCK_BYTES

/** A block's content is also its digest here: 0 is a block of zeros. */
type Content = readonly number[]
const contents = fc.array(fc.nat(3), { minLength: BLOCKS, maxLength: BLOCKS })

function mapOf(content: Content): BlockMap {
  const builder = new BlockMapBuilder()
  const shuffled = content.map((value, index) => ({ value, index })).reverse()
  for (const { value, index } of shuffled) if (value > 0) builder.add(index, new Uint8Array(32).fill(value))
  return builder.build(SIZE)
}

describe('blocksOf', () => {
  it('lists exactly the blocks that an extent touches, each once, ascending', () => {
    const extent = fc
      .tuple(fc.nat(SIZE), fc.nat(SIZE))
      .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) + 1 }))
    fc.assert(
      fc.property(fc.array(extent, { maxLength: 6 }), fc.integer({ min: 1, max: SIZE }), (extents, bytes) => {
        const expected = Array.from({ length: blockCountOf(bytes) }, (_, index) => index).filter((index) =>
          extents.some(
            ({ start, end }) =>
              start < Math.min((index + 1) * BLOCK_BYTES, bytes) && Math.min(end, bytes) > index * BLOCK_BYTES,
          ),
        )
        expect([...blocksOf(extents, bytes)]).to.deep.equal(expected)
      }),
      { numRuns: 300 },
    )
  })
})

describe('volumeGib', () => {
  it('is the smallest volume that holds the image', () => {
    expect([1, GIB - 1, GIB, GIB + 1, 8 * GIB].map(volumeGib)).to.deep.equal([1, 1, 1, 2, 8])
  })
})

describe('the block manifest', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(contents, (content) => {
        const map = mapOf(content)
        expect(decodeBlockMap(encodeBlockMap(map))).to.deep.equal(map)
      }),
    )
  })

  it('is equal for equal content, and differs for other content or another size', () => {
    fc.assert(
      fc.property(contents, contents, (a, b) => {
        const [one, other] = [encodeBlockMap(mapOf(a)), encodeBlockMap(mapOf(b))]
        expect(Buffer.compare(one, other) === 0).to.equal(a.every((value, i) => value === b[i]))
        expect(Buffer.compare(one, encodeBlockMap({ ...mapOf(a), bytes: SIZE - 1 }))).not.to.equal(0)
      }),
    )
  })

  it('is refused if it is truncated, extended, out of order or of another format', () => {
    const good = encodeBlockMap(mapOf(Array.from({ length: BLOCKS }, () => 1)))
    const changed = (change: (bytes: Uint8Array) => void) => {
      const bytes = good.slice()
      change(bytes)
      return decodeBlockMap(bytes)
    }
    expect(decodeBlockMap(good)).not.to.equal(null)
    for (const length of [0, 7, 23, good.length - 1]) expect(decodeBlockMap(good.slice(0, length))).to.equal(null)
    expect(decodeBlockMap(Uint8Array.of(...good, 0))).to.equal(null)
    expect(changed((bytes) => bytes.set([0], 0))).to.equal(null)
    // The second entry's index becomes the first one's, or one beyond the end.
    expect(changed((bytes) => bytes.set([0, 0, 0, 0], 24 + 36))).to.equal(null)
    expect(changed((bytes) => bytes.set([0, 0, 0, BLOCKS], 24 + 63 * 36))).to.equal(null)
  })
})

describe('planBlocks', () => {
  /** The content of the volume after the plan. `noise`: an unwritten block of an encrypted snapshot. */
  function carriedOut(content: Content, parent: Content | null, encrypted: boolean): (number | 'noise')[] {
    const map = mapOf(content)
    const { writes, zeros, unchanged } = planBlocks(map, parent && mapOf(parent), encrypted)
    const volume: (number | 'noise')[] = parent ? [...parent] : content.map(() => (encrypted ? 'noise' : 0))
    for (const { index, position } of writes) {
      if (index < BLOCKS) volume[index] = position === null ? 0 : (digestAt(map, position)[0] ?? 'noise')
    }
    const indexes = writes.map(({ index }) => index)
    expect(indexes).to.deep.equal([...new Set(indexes)].sort((a, b) => a - b))
    expect(zeros).to.equal(writes.filter(({ position }) => position === null).length)
    expect(writes.length - zeros + unchanged).to.equal(map.indexes.length)
    return volume
  }

  it('makes the volume equal to the image, with and without a parent or encryption', () => {
    fc.assert(
      fc.property(contents, fc.option(contents), fc.boolean(), (content, parent, encrypted) => {
        expect(carriedOut(content, parent, encrypted)).to.deep.equal([...content])
      }),
    )
  })

  it('writes no block of the parent, and no unnecessary zeros', () => {
    fc.assert(
      fc.property(contents, contents, (content, parent) => {
        const changed = content.flatMap((value, index) => (value === parent[index] ? [] : [index]))
        expect(planBlocks(mapOf(content), mapOf(parent), false).writes.map(({ index }) => index)).to.deep.equal(changed)
        const data = content.flatMap((value, index) => (value === 0 ? [] : [index]))
        expect(planBlocks(mapOf(content), null, false).writes.map(({ index }) => index)).to.deep.equal(data)
      }),
    )
  })

  it('writes every block of an encrypted volume, up to its last GiB', () => {
    const { writes, zeros } = planBlocks(mapOf(Array.from({ length: BLOCKS }, (_, i) => i % 2)), null, true)
    expect(writes).to.have.length(2048)
    expect(zeros).to.equal(2048 - BLOCKS / 2)
  })
})

describe('partsOf', () => {
  const MIB = 1024 ** 2
  /** Ascending extents, by the lengths of holes and data in turn. */
  const extentsOf = (lengths: readonly [hole: number, data: number][]) => {
    let at = 0
    return lengths.map(([hole, data]) => {
      const start = at + hole
      at = start + data
      return { start, end: at }
    })
  }
  const lengths = (most: number) =>
    fc.array(fc.tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: 1, max: most })), { maxLength: 8 })

  it("cover the file without gaps, within S3's limits", () => {
    const size = fc.oneof(fc.integer({ min: 1, max: 64 * MIB }), fc.integer({ min: 1, max: MAX_UPLOAD_BYTES }))
    const extents = fc.oneof(lengths(20 * MIB), lengths(MAX_UPLOAD_BYTES / 8)).map(extentsOf)
    fc.assert(
      fc.property(size, extents, (bytes, extents) => {
        const parts = partsOf(bytes, extents)
        expect(parts.length).to.be.within(1, 10_000)
        let at = 0
        parts.forEach((part, i) => {
          if (part.number !== i + 1 || part.start !== at || part.bytes < 1) throw new Error(`part ${i + 1} is wrong`)
          if (i < parts.length - 1 && (part.bytes < 5 * MIB || part.bytes > 5 * GIB)) throw new Error('part size')
          at += part.bytes
        })
        expect(at).to.equal(bytes)
      }),
      { numRuns: 100 },
    )
  })

  it('contain no more of a hole than S3 needs to copy the rest', () => {
    fc.assert(
      fc.property(lengths(40 * MIB), fc.integer({ min: 1, max: 40 * MIB }), (lengths, rest) => {
        const extents = extentsOf(lengths)
        const bytes = (extents.at(-1)?.end ?? 0) + rest
        const holding = partsOf(bytes, extents).filter(({ start, bytes: size }) =>
          extents.some((extent) => extent.start < start + size && extent.end > start),
        )
        const sent = holding.reduce((sum, part) => sum + part.bytes, 0)
        const data = lengths.reduce((sum, [, data]) => sum + data, 0)
        // At most a part's 5 MiB of the hole before each extent, and as much after a shorter extent.
        const short = lengths.filter(([, data]) => data < 5 * MIB).length
        expect(sent - data).to.be.at.most((lengths.length + short) * 5 * MIB)
      }),
    )
    const far = extentsOf([
      [0, 9 * MIB],
      [32 * MIB, 2 * MIB],
      [7 * MIB, 20 * MIB],
    ])
    const sizes = partsOf(80 * MIB, far).map((part) => part.bytes / MIB)
    expect(sizes).to.deep.equal([9, 8, 8, 8, 8, 5, 8, 8, 8, 5, 5])
  })
})
