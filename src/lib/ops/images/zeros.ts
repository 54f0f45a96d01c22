/** One shared run of zeros to compare with, to hash, and to send. Never written to. */
const ZEROS = Buffer.alloc(1024 * 1024)

export const zeros = (bytes: number): Uint8Array => ZEROS.subarray(0, bytes)

/** memcmp: data differs in its first bytes, so it costs next to nothing there. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length)
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.length)) !== 0) return false
  }
  return true
}
