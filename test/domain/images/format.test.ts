import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import {
  bootRefusal,
  formatOfName,
  HEAD_BYTES,
  type Sniffed,
  sniffFormat,
  vhdChecksum,
} from '../../../src/lib/domain/images/format.js'
import { bootSector } from '../../support/fakeDisk.js'

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

/** A disk of 64 KiB with a protective MBR and a GPT of one partition, by the UEFI specification's offsets. */
function gptDisk({ code = false, kind = Buffer.from('28732ac11ff8d211ba4b00a0c93ec93b', 'hex') } = {}): Buffer {
  const disk = Buffer.alloc(BYTES)
  if (code) disk.write('boot code')
  disk.writeUInt8(0xee, 446 + 4)
  disk.writeUInt32LE(1, 446 + 8)
  disk.writeUInt32LE(0xffff_ffff, 446 + 12)
  disk.writeUInt16LE(0xaa55, 510)
  kind.copy(disk, 1024)
  const header = disk.subarray(512, 1024)
  header.write('EFI PART')
  header.writeUInt32LE(0x10000, 8)
  header.writeUInt32LE(92, 12)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(BigInt(BYTES / 512 - 1), 32)
  header.writeBigUInt64LE(2n, 72)
  header.writeUInt32LE(128, 80)
  header.writeUInt32LE(128, 84)
  header.writeUInt32LE(crc32(disk.subarray(1024, 1024 + 128 * 128)), 88)
  header.writeUInt32LE(crc32(header.subarray(0, 92)), 16)
  return disk
}

/** CRC-32 of a gzip trailer: an implementation other than the tested one. */
const crc32 = (bytes: Buffer) => gzipSync(bytes).readUInt32LE(gzipSync(bytes).length - 8)

const BYTES = 64 * 1024
const zeros = Buffer.alloc(1024)
function sniff(head: Uint8Array, tail: Uint8Array = zeros.subarray(0, 512), bytes = BYTES): Sniffed {
  return sniffFormat({ bytes, head, tail })
}
const refusal = (verdict: Sniffed) => ('refused' in verdict ? verdict.refused : `taken as ${verdict.format}`)

describe('sniffFormat', () => {
  it('detects a raw disk by its boot sector, with or without partitions, and its firmware', () => {
    const bare = Buffer.alloc(1024)
    bare.fill(0x90, 0, 510).writeUInt16LE(0xaa55, 510)
    const fat = Buffer.from(bare)
    fat.write('FAT32', 82)
    expect(sniff(bare)).to.deep.equal({ format: 'raw', diskBytes: BYTES, boots: { bios: true, uefi: false } })
    expect(sniff(bootSector())).to.deep.include({ boots: { bios: true, uefi: false } })
    expect(sniff(bootSector('esp'))).to.deep.include({ boots: { bios: true, uefi: true } })
    expect(sniff(fat)).to.deep.include({ boots: { bios: true, uefi: true } })
  })

  it('accepts a GPT with its protective MBR, and detects an EFI system partition', () => {
    expect(sniff(gptDisk())).to.deep.equal({ format: 'raw', diskBytes: BYTES, boots: { bios: false, uefi: true } })
    expect(sniff(gptDisk({ code: true, kind: Buffer.alloc(16, 7) }))).to.deep.include({
      boots: { bios: true, uefi: false },
    })
  })

  it('refuses a disk whose partition table is damaged or ends beyond the file', () => {
    const broken = (change: (disk: Buffer) => void) => {
      const disk = gptDisk()
      change(disk)
      return refusal(sniff(disk))
    }
    expect(broken((disk) => disk.fill(0, 510, 512))).to.match(/GPT without a protective MBR/)
    expect(broken((disk) => disk.fill(0, 512, 1024))).to.match(/no GPT: it is damaged or cut off/)
    expect(broken((disk) => disk.writeUInt8(1, 512 + 56))).to.match(/checksum of its GPT header/)
    expect(broken((disk) => disk.writeUInt8(1, 1024 + 100))).to.match(/checksum of its GPT entries/)
    expect(refusal(sniff(gptDisk(), undefined, BYTES / 2))).to.match(/beyond the end of the file: it is cut off/)
    expect(refusal(sniff(bootSector(), undefined, 7 * 512))).to.match(/its partitions end at byte 4096.*cut off/)
  })

  it('refuses a file without a boot sector, and names its type', () => {
    const at = (offset: number, text: string) => {
      const head = Buffer.alloc(HEAD_BYTES)
      head.write(text, offset, 'latin1')
      return refusal(sniff(head))
    }
    expect(refusal(sniff(zeros))).to.match(/^it begins with zeros: there is no boot sector/)
    expect(at(0, 'x')).to.match(/^it is not a disk image: there is no boot sector/)
    expect(at(0x438, 'S\u00ef')).to.match(/^it is an ext file system/)
    expect(at(0x8001, 'CD001')).to.match(/^it is an ISO 9660 file system/)
    expect(at(257, 'ustar')).to.equal('it is a tar archive')
    expect(at(64, '\u007f\u0010\u00da\u00be')).to.equal('it is a VDI image')
    for (const [text, name] of [
      ['<!DOCTYPE html><html>404', 'an HTML or XML page'],
      ['\n<?xml version="1.0"?><Error>', 'an HTML or XML page'],
      ['version https://git-lfs.github.com/spec/v1', 'a Git LFS pointer'],
      ['<<< Oracle VM VirtualBox Disk Image >>>', 'a VDI image'],
      ['BZh91AY&SY', 'bzip2 data'],
      ['PK\u0003\u0004', 'a zip archive'],
      ['\u0004"M\u0018', 'lz4 data'],
      ['\u003a\u00ff\u0026\u00ed', 'an Android sparse image'],
    ] as const) {
      expect(at(0, text)).to.equal(`it is ${name}`)
    }
  })

  it('detects fixed and dynamic VHDs by their footer', () => {
    expect(sniff(zeros, vhdFooter())).to.deep.equal({ format: 'vhd', diskBytes: DISK, boots: null })
    expect(sniff(vhdFooter(), vhdFooter())).to.deep.equal({ format: 'vhd', diskBytes: DISK, boots: null })
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

  it('accepts only the kind of VMDK that VM Import accepts', () => {
    expect(sniff(vmdkHeader(0x30001))).to.deep.equal({ format: 'vmdk', diskBytes: DISK, boots: null })
    expect(refusal(sniff(vmdkHeader(0x1)))).to.match(/only stream-optimized/)
    expect(refusal(sniff(Buffer.from('# Disk DescriptorFile\nversion=1')))).to.match(/only stream-optimized/)
    expect(refusal(sniff(Buffer.from('COWD')))).to.match(/only stream-optimized/)
    expect(refusal(sniff(vmdkHeader(0x30001).subarray(0, 100)))).to.match(/cut off/)
  })

  it('refuses a VMDK whose header refers to a missing footer', () => {
    const header = vmdkHeader(0x30001)
    header.writeBigUInt64LE(0xffffffffffffffffn, 56)
    expect(sniff(header, header)).to.deep.equal({ format: 'vmdk', diskBytes: DISK, boots: null })
    expect(refusal(sniff(header, zeros))).to.match(/without a footer at its end: it is cut off/)
    expect(refusal(sniff(header, zeros.subarray(0, 512)))).to.match(/cut off/)
  })

  it('refuses empty files, half sectors, other containers and compressed data', () => {
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
  it('reads the format from a meaningful extension', () => {
    const names = ['a.raw', 'a.VHD', 'a.vpc', 'a.vmdk', 'a.img', 'raw', 'a.raw.gz']
    expect(names.map(formatOfName)).to.deep.equal(['raw', 'vhd', 'vhd', 'vmdk', null, null, null])
  })
})

describe('bootRefusal', () => {
  it('requires what the boot mode needs, and does not check containers', () => {
    const [bios, uefi] = [
      { bios: true, uefi: false },
      { bios: false, uefi: true },
    ]
    expect(bootRefusal(bios, 'legacy-bios')).to.equal(null)
    expect(bootRefusal(uefi, 'legacy-bios')).to.match(/no boot code/)
    expect(bootRefusal(bios, 'uefi')).to.match(/no EFI system partition/)
    for (const boots of [bios, uefi, null]) expect(bootRefusal(boots, 'uefi-preferred')).to.equal(null)
  })
})
