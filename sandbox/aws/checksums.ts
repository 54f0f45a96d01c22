import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** S3's names of its checksums, as in `x-amz-checksum-NAME`. */
export const CHECKSUM_NAMES = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumName = (typeof CHECKSUM_NAMES)[number]

/** COMPOSITE: a checksum of the parts' checksums. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

export interface Checksum {
  update(chunk: Buffer): void
  /** Base64 of the big-endian checksum, as S3 writes it. */
  digest(): string
}

export function checksum(name: ChecksumName): Checksum {
  if (name === 'sha1' || name === 'sha256') {
    const hash = createHash(name)
    return { update: (chunk) => hash.update(chunk), digest: () => hash.digest('base64') }
  }
  if (name === 'crc32') {
    let value = 0
    return {
      update: (chunk) => {
        value = crc32(chunk, value)
      },
      digest: () => base64(BigInt(value), 4),
    }
  }
  return reflectedCrc(CRCS[name])
}

export function checksumOf(name: ChecksumName, body: Buffer): string {
  const sum = checksum(name)
  sum.update(body)
  return sum.digest()
}

export function isChecksumName(name: string): name is ChecksumName {
  return (CHECKSUM_NAMES as readonly string[]).includes(name)
}

function base64(value: bigint, bytes: number): string {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex').toString('base64')
}

interface Crc {
  bits: number
  /** Reflected. */
  polynomial: bigint
  /** The entries' upper and lower 32 bits: two numbers are an order of magnitude faster than one bigint. */
  high: Uint32Array
  low: Uint32Array
}

const CRCS = {
  crc32: crc(0xedb88320n, 32),
  crc32c: crc(0x82f63b78n, 32),
  crc64nvme: crc(0x9a6c9329ac4bc9b5n, 64),
}

function crc(polynomial: bigint, bits: number): Crc {
  const high = new Uint32Array(256)
  const low = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n
    high[byte] = Number(value >> 32n)
    low[byte] = Number(value & 0xffffffffn)
  }
  return { bits, polynomial, high, low }
}

function reflectedCrc(table: Crc): Checksum {
  const ones = table.bits === 64 ? 0xffffffff : 0
  let high = ones
  let low = 0xffffffff
  return {
    update: (chunk) => {
      for (const byte of chunk) {
        const index = (low ^ byte) & 0xff
        low = ((low >>> 8) | (high << 24)) ^ (table.low[index] ?? 0)
        high = (high >>> 8) ^ (table.high[index] ?? 0)
      }
    },
    digest: () => base64((BigInt((high ^ ones) >>> 0) << 32n) | BigInt(~low >>> 0), table.bits / 8),
  }
}

/** Which checksums of parts give the checksum of the whole object. */
export function isCrc(name: ChecksumName): name is keyof typeof CRCS {
  return Object.hasOwn(CRCS, name)
}

/**
 * The CRC of bytes one after the other, from the CRC and the size of each: a CRC is shifted by n bytes by multiplying it
 * with x^8n modulo the polynomial.
 */
export function joinCrcs(name: keyof typeof CRCS, parts: readonly { sum: string; size: number }[]): string {
  const table = CRCS[name]
  const shifts = new Map<number, bigint>()
  let joined = 0n
  for (const { sum, size } of parts) {
    const shift = shifts.get(size) ?? power(table, size * 8)
    shifts.set(size, shift)
    joined = multiply(table, joined, shift) ^ BigInt(`0x${Buffer.from(sum, 'base64').toString('hex') || '0'}`)
  }
  return base64(joined, table.bits / 8)
}

/** x^exponent; the top bit is x^0, for the polynomials are reflected. */
function power(table: Crc, exponent: number): bigint {
  const one = 1n << BigInt(table.bits - 1)
  let result = one
  let square = one >> 1n
  for (let rest = BigInt(exponent); rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = multiply(table, result, square)
    square = multiply(table, square, square)
  }
  return result
}

function multiply({ bits, polynomial }: Crc, a: bigint, b: bigint): bigint {
  let product = 0n
  for (let bit = BigInt(bits - 1); bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= b
    b = b & 1n ? (b >> 1n) ^ polynomial : b >> 1n
  }
  return product
}
