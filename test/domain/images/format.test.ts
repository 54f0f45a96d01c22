import { expect } from 'chai'
import { formatOfName, type Sniffed, sniffFormat, vhdChecksum } from '../../../src/lib/domain/images/format.js'

const DISK = 8 * 1024 ** 3

/** A fixed VHD's footer, by the specification's offsets. */
function vhdFooter(): Buffer {
  const footer = Buffer.alloc(512)
  footer.write('conectix', 0, 'latin1')
  footer.writeBigUInt64BE(BigInt(DISK), 48)
  footer.writeUInt32BE(2, 60)
  footer.writeUInt32BE(vhdChecksum(footer), 64)
  return footer
}

function vmdkHeader(flags: number): Buffer {
  const header = Buffer.alloc(1024)
  header.write('KDMV', 0, 'latin1')
  header.writeUInt32LE(3, 4)
  header.writeUInt32LE(flags, 8)
  header.writeBigUInt64LE(BigInt(DISK / 512), 12)
  return header
}

const zeros = Buffer.alloc(1024)
function sniff(head: Uint8Array, tail: Uint8Array = zeros.subarray(0, 512), bytes = 64 * 1024): Sniffed {
  return sniffFormat({ bytes, head, tail })
}
const refusal = (verdict: Sniffed) => ('refused' in verdict ? verdict.refused : `taken as ${verdict.format}`)

describe('sniffFormat', () => {
  it('takes what bears no mark for a raw disk, whether or not it has a partition table', () => {
    const mbr = Buffer.alloc(1024)
    mbr.writeUInt16LE(0xaa55, 510)
    for (const head of [zeros, mbr]) expect(sniff(head)).to.deep.equal({ format: 'raw', diskBytes: 64 * 1024 })
  })

  it('knows VHDs by the footer at their end, fixed and dynamic', () => {
    expect(sniff(zeros, vhdFooter())).to.deep.equal({ format: 'vhd', diskBytes: DISK })
    expect(sniff(vhdFooter(), vhdFooter())).to.deep.equal({ format: 'vhd', diskBytes: DISK })
  })

  it('refuses a VHD that is cut off or damaged', () => {
    expect(refusal(sniff(vhdFooter()))).to.match(/no footer at its end: it is cut off/)
    const flipped = vhdFooter()
    flipped[100] = 1
    expect(refusal(sniff(zeros, flipped))).to.match(/checksum of its VHD footer is wrong/)
    const short = Buffer.concat([zeros.subarray(0, 1), vhdFooter().subarray(0, 511)])
    expect(refusal(sniff(zeros, short, 64 * 1024 + 511))).to.match(/not whole sectors/)
    expect(refusal(sniff(zeros, short, 64 * 1024))).to.match(/not whole sectors|cut off/)
  })

  it('takes the one kind of VMDK that VM Import takes', () => {
    expect(sniff(vmdkHeader(0x30001))).to.deep.equal({ format: 'vmdk', diskBytes: DISK })
    expect(refusal(sniff(vmdkHeader(0x1)))).to.match(/only stream-optimized/)
    expect(refusal(sniff(Buffer.from('# Disk DescriptorFile\nversion=1')))).to.match(/only stream-optimized/)
    expect(refusal(sniff(Buffer.from('COWD')))).to.match(/only stream-optimized/)
    expect(refusal(sniff(vmdkHeader(0x30001).subarray(0, 100)))).to.match(/cut off/)
  })

  it('refuses a VMDK whose header promises a footer that is not there', () => {
    const header = vmdkHeader(0x30001)
    header.writeBigUInt64LE(0xffffffffffffffffn, 56)
    expect(sniff(header, header)).to.deep.equal({ format: 'vmdk', diskBytes: DISK })
    expect(refusal(sniff(header, zeros))).to.match(/no footer at its end: it is cut off/)
    expect(refusal(sniff(header, zeros.subarray(0, 512)))).to.match(/cut off/)
  })

  it('refuses what is none: nothing, half a sector, other containers, compressed data', () => {
    expect(refusal(sniff(new Uint8Array(), new Uint8Array(), 0))).to.equal('it is empty')
    expect(refusal(sniff(zeros, undefined, 1000))).to.match(/not whole sectors/)
    for (const [magic, name] of [
      ['QFI\u00fb', /qcow2/],
      ['vhdxfile', /VHDX/],
      ['\u001f\u008b', /gzip/],
      ['(\u00b5/\u00fd', /zstd/],
      ['\u00fd7zXZ', /xz/],
    ] as const) {
      expect(refusal(sniff(Buffer.from(magic, 'latin1')))).to.match(name)
    }
  })
})

describe('formatOfName', () => {
  it('reads the extension where there is one that says something', () => {
    const names = ['a.raw', 'a.VHD', 'a.vpc', 'a.vmdk', 'a.img', 'raw', 'a.raw.gz']
    expect(names.map(formatOfName)).to.deep.equal(['raw', 'vhd', 'vhd', 'vmdk', null, null, null])
  })
})
