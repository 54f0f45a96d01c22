/** As VM Import names them. */
export const IMAGE_FORMATS = ['raw', 'vhd', 'vmdk'] as const
export type ImageFormat = (typeof IMAGE_FORMATS)[number]

/** As RegisterImage names them. */
export const BOOT_MODES = ['legacy-bios', 'uefi', 'uefi-preferred'] as const
export type BootMode = (typeof BOOT_MODES)[number]

/** How many bytes of the beginning and of the end `sniffFormat` needs: up to the magic of an ISO 9660 file system. */
export const HEAD_BYTES = 36 * 1024
export const TAIL_BYTES = 1024
const SECTOR = 512

export interface FormatVerdict {
  format: ImageFormat
  /** Size of the disk that a VM sees; null if the header does not contain it. */
  diskBytes: number | null
  /** The firmwares that find a boot loader; null for a container format, whose content is not read. */
  boots: Boots | null
}

/** Which firmware finds a boot loader. */
export interface Boots {
  bios: boolean
  uefi: boolean
}

export type Sniffed = FormatVerdict | { refused: string; hint: string }

/**
 * The format by the content: a raw image must have a boot sector. `head` is the beginning of the file, `tail` its
 * last sectors; both are shorter if the file is. VHD: Microsoft's specification 1.0, footer in the last sector, a
 * copy first in dynamic ones. VMDK: VMware's Virtual Disk Format 5.0, sparse header; VM Import takes only the
 * stream-optimized kind.
 */
export function sniffFormat(file: { bytes: number; head: Uint8Array; tail: Uint8Array }): Sniffed {
  const { bytes, head } = file
  const tail = file.tail.subarray(-SECTOR)
  if (bytes === 0) return { refused: 'it is empty', hint: 'Build the image again.' }
  const kind = text(head, 0, 4)
  if (kind === 'KDMV') return sniffVmdk(head, file.tail)
  if (kind === 'COWD' || text(head, 0, 21) === '# Disk DescriptorFile') {
    return {
      refused: 'it is a VMDK of a kind that VM Import does not accept: only stream-optimized ones are accepted',
      hint: 'Convert it: qemu-img convert -O vmdk -o subformat=streamOptimized IN OUT.vmdk.',
    }
  }
  const other = OTHER_FORMATS.find(({ magic, at = 0 }) => text(head, at, magic.length) === magic)
  if (other) return { refused: `it is ${other.name}`, hint: HINTS[other.kind] }
  if (/^\s*<(?:!doctype|html|\?xml)/i.test(text(head, 0, 64))) {
    return { refused: 'it is an HTML or XML page', hint: HINTS.pointer }
  }
  const begins = text(head, 0, 8) === 'conectix'
  const ends = text(tail, 0, 8) === 'conectix'
  if (ends) {
    if (!isFooter(tail)) return { refused: 'the checksum of its VHD footer is wrong', hint: 'Build or copy it again.' }
    return { format: 'vhd', diskBytes: u64(tail, 48), boots: null }
  }
  if (begins) {
    return {
      refused: 'it begins like a VHD but has no footer at its end: it is cut off',
      hint: 'Build or copy it again.',
    }
  }
  // Some writers leave a footer of 511 bytes: the specification allows it, VM Import refuses it.
  if (text(tail, 1, 8) === 'conectix' || bytes % SECTOR !== 0) {
    return {
      refused: `its ${bytes} bytes are not whole sectors of ${SECTOR}: it is cut off, or not a disk image`,
      hint: 'Build or copy it again.',
    }
  }
  const boots = readBootSector(head, bytes)
  return 'refused' in boots ? boots : { format: 'raw', diskBytes: bytes, boots }
}

const HINTS = {
  disk: 'Convert it: qemu-img convert -O raw IN OUT.raw.',
  archive: 'Unpack it, and pass the image that is in it.',
  pointer: 'Download the image itself.',
  plain: 'Build an image with a partition table and a boot loader; --force uses the file as it is.',
}

const OTHER_FORMATS: readonly { magic: string; at?: number; name: string; kind: keyof typeof HINTS }[] = [
  { magic: 'QFI\u00fb', name: 'a qcow2 image', kind: 'disk' },
  { magic: 'QED\u0000', name: 'a QED image', kind: 'disk' },
  { magic: 'vhdxfile', name: 'a VHDX image', kind: 'disk' },
  { magic: '\u007f\u0010\u00da\u00be', at: 64, name: 'a VDI image', kind: 'disk' },
  { magic: '<<< ', name: 'a VDI image', kind: 'disk' },
  { magic: '\u003a\u00ff\u0026\u00ed', name: 'an Android sparse image', kind: 'disk' },
  { magic: '\u001f\u008b', name: 'gzip data', kind: 'archive' },
  { magic: '(\u00b5/\u00fd', name: 'zstd data', kind: 'archive' },
  { magic: '\u00fd7zXZ', name: 'xz data', kind: 'archive' },
  { magic: 'BZh', name: 'bzip2 data', kind: 'archive' },
  { magic: '\u0004"M\u0018', name: 'lz4 data', kind: 'archive' },
  { magic: 'PK\u0003\u0004', name: 'a zip archive', kind: 'archive' },
  { magic: '7z\u00bc\u00af', name: 'a 7z archive', kind: 'archive' },
  { magic: 'ustar', at: 257, name: 'a tar archive', kind: 'archive' },
  { magic: 'nix-archive-1', at: 8, name: 'a Nix archive', kind: 'archive' },
  { magic: 'version https://git-lfs', name: 'a Git LFS pointer', kind: 'pointer' },
  { magic: '/annex/objects/', name: 'a git-annex pointer', kind: 'pointer' },
  { magic: '\u007fELF', name: 'a program', kind: 'plain' },
  { magic: 'hsqs', name: 'a squashfs file system', kind: 'plain' },
]

/** File systems that have no boot sector of their own. */
const BARE_FILE_SYSTEMS: readonly { magic: string; at: number; name: string }[] = [
  { magic: 'S\u00ef', at: 0x438, name: 'an ext file system' },
  { magic: 'XFSB', at: 0, name: 'an XFS file system' },
  { magic: 'CD001', at: 0x8001, name: 'an ISO 9660 file system' },
]

const TABLE_AT = 446
const PROTECTIVE = 0xee
const EFI_SYSTEM = 0xef
/** C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it is stored. */
const EFI_SYSTEM_GUID = '28732ac11ff8d211ba4b00a0c93ec93b'

/**
 * What a firmware finds in the first sectors: a boot sector with or without a partition table, a protective MBR with its
 * GPT (UEFI specification 2.10, chapter 5), or a FAT file system over the whole disk.
 */
function readBootSector(head: Uint8Array, bytes: number): Boots | { refused: string; hint: string } {
  if (head[510] !== 0x55 || head[511] !== 0xaa) {
    if (text(head, SECTOR, 8) === 'EFI PART') {
      return { refused: 'it has a GPT without a protective MBR', hint: HINTS.plain }
    }
    const bare = BARE_FILE_SYSTEMS.find(({ magic, at }) => text(head, at, magic.length) === magic)
    const what = bare ? `it is ${bare.name}` : head.some(Boolean) ? 'it is not a disk image' : 'it begins with zeros'
    return { refused: `${what}: there is no boot sector (bytes 55 AA at 510)`, hint: HINTS.plain }
  }
  if (/^FAT/.test(text(head, 54, 3)) || /^FAT/.test(text(head, 82, 3))) return { bios: true, uefi: true }
  const entries = [0, 1, 2, 3].map((i) => head.subarray(TABLE_AT + i * 16, TABLE_AT + (i + 1) * 16))
  // Without a partition table, any content is possible here.
  if (entries.some((entry) => entry[0] !== 0 && entry[0] !== 0x80)) return { bios: true, uefi: false }
  const used = entries.filter((entry) => entry[4] !== 0)
  if (used.some((entry) => entry[4] === PROTECTIVE)) return readGpt(head, bytes)
  const end = Math.max(0, ...used.map((entry) => u32le(entry, 8) + u32le(entry, 12)))
  if (end * SECTOR > bytes) return cutOff('its partitions end', end)
  return { bios: true, uefi: used.some((entry) => entry[4] === EFI_SYSTEM) }
}

function readGpt(head: Uint8Array, bytes: number): Boots | { refused: string; hint: string } {
  const damaged = (what: string) => ({ refused: `${what}: it is damaged or cut off`, hint: 'Build or copy it again.' })
  const header = head.slice(SECTOR, 2 * SECTOR)
  if (text(header, 0, 8) !== 'EFI PART') return damaged('it has a protective MBR but no GPT')
  const size = u32le(header, 12)
  const promised = u32le(header, 16)
  header.fill(0, 16, 20)
  if (size < 92 || size > SECTOR || crc32(header.subarray(0, size)) !== promised) {
    return damaged('the checksum of its GPT header is wrong')
  }
  const backup = u64le(header, 32)
  if ((backup + 1) * SECTOR > bytes) return cutOff('its GPT ends', backup + 1)
  const [at, count, length] = [u64le(header, 72) * SECTOR, u32le(header, 80), u32le(header, 84)]
  const table = head.subarray(at, at + count * length)
  if (table.length === count * length && crc32(table) !== u32le(header, 88)) {
    return damaged('the checksum of its GPT entries is wrong')
  }
  const kinds = Array.from({ length: Math.floor(table.length / length) }, (_, i) => hex(table, i * length, 16))
  return { bios: head.subarray(0, 440).some(Boolean), uefi: kinds.includes(EFI_SYSTEM_GUID) }
}

const cutOff = (what: string, sectors: number) => ({
  refused: `${what} at byte ${sectors * SECTOR}, beyond the end of the file: it is cut off`,
  hint: 'Build or copy it again.',
})

/** Why no machine can boot it in this mode; null if one may. */
export function bootRefusal(boots: Boots | null, mode: BootMode): string | null {
  if (boots === null || (mode === 'uefi-preferred' && (boots.bios || boots.uefi))) return null
  if (mode === 'legacy-bios') return boots.bios ? null : 'it has no boot code, which legacy-bios needs'
  return boots.uefi ? null : `it has no EFI system partition, from which ${mode} boots`
}

const GD_AT_END = 0xffff_ffff_ffff_ffffn

function sniffVmdk(head: Uint8Array, tail: Uint8Array): Sniffed {
  if (head.length < 512) return { refused: 'its VMDK header is cut off', hint: 'Build or copy it again.' }
  // Flag 16: grains are compressed; flag 17: markers between grains. Together they mean stream-optimized.
  const flags = u32le(head, 8)
  if ((flags & 0x30000) !== 0x30000) {
    return {
      refused: 'it is a VMDK of a kind that VM Import does not accept: only stream-optimized ones are accepted',
      hint: 'Convert it: qemu-img convert -O vmdk -o subformat=streamOptimized IN OUT.vmdk.',
    }
  }
  // The header does not contain the grain directory: the footer does, in the last sector but one, before the
  // end-of-stream marker.
  const atEnd = view(head).getBigUint64(56, true) === GD_AT_END
  if (atEnd && text(tail, tail.length - 2 * SECTOR, 4) !== 'KDMV') {
    return { refused: 'it is a VMDK without a footer at its end: it is cut off', hint: 'Build or copy it again.' }
  }
  return { format: 'vmdk', diskBytes: u64le(head, 12) * SECTOR, boots: null }
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

/** The format of a file's extension; null for `.img` and others that may be any format. */
export function formatOfName(name: string): ImageFormat | null {
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase()
  return IMAGE_FORMATS.find((format) => format === extension) ?? (extension === 'vpc' ? 'vhd' : null)
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const u32le = (bytes: Uint8Array, at: number) => view(bytes).getUint32(at, true)
const u64 = (bytes: Uint8Array, at: number) => Number(view(bytes).getBigUint64(at))
const u64le = (bytes: Uint8Array, at: number) => Number(view(bytes).getBigUint64(at, true))

const hex = (bytes: Uint8Array, at: number, length: number) =>
  Array.from(bytes.subarray(at, at + length), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** CRC-32 of IEEE 802.3, as GPT uses it. Node has one since version 22 only. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0)
  }
  return ~crc >>> 0
}

/** One character per byte. */
function text(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}
