import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** S3's names of its checksums, as in `x-amz-checksum-NAME`. */
export const CHECKSUM_NAMES = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumName = (typeof CHECKSUM_NAMES)[number]

/** Base64 of the big-endian checksum, as S3 writes it. */
export function checksumOf(name: ChecksumName, body: Buffer): string {
  switch (name) {
    case 'crc32':
      return base64(BigInt(crc32(body)), 4)
    case 'crc32c':
      return base64(reflectedCrc(body, CRC32C), 4)
    case 'crc64nvme':
      return base64(reflectedCrc(body, CRC64NVME), 8)
    case 'sha1':
    case 'sha256':
      return createHash(name).update(body).digest('base64')
  }
}

export function isChecksumName(name: string): name is ChecksumName {
  return (CHECKSUM_NAMES as readonly string[]).includes(name)
}

function base64(value: bigint, bytes: number): string {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex').toString('base64')
}

interface CrcTable {
  /** The entries' upper and lower 32 bits: two numbers are an order of magnitude faster than one bigint. */
  high: Uint32Array
  low: Uint32Array
  ones: bigint
}

const CRC32C = crcTable(0x82f63b78n, 32n)
const CRC64NVME = crcTable(0x9a6c9329ac4bc9b5n, 64n)

function crcTable(polynomial: bigint, bits: bigint): CrcTable {
  const high = new Uint32Array(256)
  const low = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n
    high[byte] = Number(value >> 32n)
    low[byte] = Number(value & 0xffffffffn)
  }
  return { high, low, ones: (1n << bits) - 1n }
}

function reflectedCrc(body: Buffer, table: CrcTable): bigint {
  let high = Number(table.ones >> 32n)
  let low = 0xffffffff
  for (const byte of body) {
    const index = (low ^ byte) & 0xff
    low = ((low >>> 8) | (high << 24)) ^ (table.low[index] ?? 0)
    high = (high >>> 8) ^ (table.high[index] ?? 0)
  }
  return ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)) ^ table.ones
}
