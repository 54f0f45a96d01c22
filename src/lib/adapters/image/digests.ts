import { createHash, webcrypto } from 'node:crypto'
import type { Digests } from '../../ops/images/ports.js'

export const digests: Digests = {
  // In libuv's threads: as fast as the cores are many, and the main thread is free for sockets.
  of: async (bytes) => new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)),
  running(algorithm = 'sha256') {
    const hash = createHash(algorithm)
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') }
  },
}
