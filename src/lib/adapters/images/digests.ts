import { createHash } from 'node:crypto'
import type { Digests } from '../../ops/images/ports.js'

export const digests: Digests = {
  of: (bytes) => createHash('sha256').update(bytes).digest(),
  running(algorithm = 'sha256') {
    const hash = createHash(algorithm)
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') }
  },
}
