/** As VM Import names them. */
export const IMAGE_FORMATS = ['raw', 'vhd', 'vmdk'] as const
export type ImageFormat = (typeof IMAGE_FORMATS)[number]

/** How many bytes of the beginning and of the end tell a format. */
export const HEAD_BYTES = 1024
export const TAIL_BYTES = 1024
const SECTOR = 512

export interface FormatVerdict {
  format: ImageFormat
  /** What a VM made of it sees as its disk; null where the format does not say it up front. */
  diskBytes: number | null
}

export type Sniffed = FormatVerdict | { refused: string; hint: string }

/**
 * The format by the content. `head` is what the file begins with, `tail` its last sectors; both shorter where the file is.
 * VHD: Microsoft's specification 1.0, footer in the last sector, a copy first in dynamic ones. VMDK: VMware's Virtual
 * Disk Format 5.0, sparse header; VM Import takes only the stream-optimized kind.
 */
export function sniffFormat(file: { bytes: number; head: Uint8Array; tail: Uint8Array }): Sniffed {
  const { bytes, head } = file
  const tail = file.tail.subarray(-SECTOR)
  if (bytes === 0) return { refused: 'it is empty', hint: 'Build the image again.' }
  const kind = text(head, 0, 4)
  if (kind === 'KDMV') return sniffVmdk(head, file.tail)
  if (kind === 'COWD' || text(head, 0, 21) === '# Disk DescriptorFile') {
    return {
      refused: 'it is a VMDK that VM Import does not take: only stream-optimized ones are',
      hint: 'Convert it: qemu-img convert -O vmdk -o subformat=streamOptimized IN OUT.vmdk.',
    }
  }
  const other = OTHER_FORMATS.find(([magic]) => text(head, 0, magic.length) === magic)
  if (other) {
    return {
      refused: `it is ${other[1]}, which can't be imported`,
      hint: 'Convert it: qemu-img convert -O raw IN OUT.raw.',
    }
  }
  const begins = text(head, 0, 8) === 'conectix'
  const ends = text(tail, 0, 8) === 'conectix'
  if (ends) {
    if (!isFooter(tail)) return { refused: 'the checksum of its VHD footer is wrong', hint: 'Build or copy it again.' }
    return { format: 'vhd', diskBytes: u64(tail, 48) }
  }
  if (begins) {
    return {
      refused: 'it begins as a VHD and has no footer at its end: it is cut off',
      hint: 'Build or copy it again.',
    }
  }
  // Some writers leave a footer of 511 bytes: the specification tells readers to expect it, VM Import refuses it.
  if (text(tail, 1, 8) === 'conectix' || bytes % SECTOR !== 0) {
    return {
      refused: `its ${bytes} bytes are not whole sectors of ${SECTOR}: it is cut off, or no disk image`,
      hint: 'Build or copy it again.',
    }
  }
  return { format: 'raw', diskBytes: bytes }
}

const OTHER_FORMATS: readonly [magic: string, name: string][] = [
  ['QFI\u00fb', 'a qcow2 image'],
  ['vhdxfile', 'a VHDX image'],
  ['\u001f\u008b', 'gzip data'],
  ['(\u00b5/\u00fd', 'zstd data'],
  ['\u00fd7zXZ', 'xz data'],
]

const GD_AT_END = 0xffff_ffff_ffff_ffffn

function sniffVmdk(head: Uint8Array, tail: Uint8Array): Sniffed {
  if (head.length < 512) return { refused: 'its VMDK header is cut off', hint: 'Build or copy it again.' }
  // Flag 16: grains are compressed; flag 17: markers. Together they are the stream-optimized kind.
  const flags = u32le(head, 8)
  if ((flags & 0x30000) !== 0x30000) {
    return {
      refused: 'it is a VMDK that VM Import does not take: only stream-optimized ones are',
      hint: 'Convert it: qemu-img convert -O vmdk -o subformat=streamOptimized IN OUT.vmdk.',
    }
  }
  // A header that leaves the grain directory to the footer: the last sector but one, before the end-of-stream marker.
  const atEnd = view(head).getBigUint64(56, true) === GD_AT_END
  if (atEnd && text(tail, tail.length - 2 * SECTOR, 4) !== 'KDMV') {
    return { refused: 'it is a VMDK and has no footer at its end: it is cut off', hint: 'Build or copy it again.' }
  }
  return { format: 'vmdk', diskBytes: u64le(head, 12) * SECTOR }
}

/** The ones' complement of the sum of all bytes, the checksum's own four left out. */
export function vhdChecksum(footer: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < footer.length; i += 1) if (i < 64 || i >= 68) sum += footer[i] ?? 0
  return ~sum >>> 0
}

function isFooter(footer: Uint8Array): boolean {
  return footer.length === 512 && view(footer).getUint32(64) === vhdChecksum(footer)
}

/** What a file's name says, or null where it says nothing. `.img` and no extension may be anything. */
export function formatOfName(name: string): ImageFormat | null {
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase()
  return IMAGE_FORMATS.find((format) => format === extension) ?? (extension === 'vpc' ? 'vhd' : null)
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const u32le = (bytes: Uint8Array, at: number) => view(bytes).getUint32(at, true)
const u64 = (bytes: Uint8Array, at: number) => Number(view(bytes).getBigUint64(at))
const u64le = (bytes: Uint8Array, at: number) => Number(view(bytes).getBigUint64(at, true))

/** One character a byte. */
function text(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}
