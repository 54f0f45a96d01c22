/** One shared run of zeros to hash and to send. Never written to. */
const ZEROS = Buffer.alloc(1024 * 1024)

export const zeros = (bytes: number): Uint8Array => ZEROS.subarray(0, bytes)
