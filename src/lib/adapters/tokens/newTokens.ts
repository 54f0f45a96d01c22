import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { ClawctlError } from '../../domain/errors.js'
import type { NewToken, TokenPlace } from '../../ops/tokens/tokens.js'

const TOKEN_BYTES = 32

/** A random token with its digest: the Control API only gets the digest. */
export function newToken(): NewToken {
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  return { token, sha256: createHash('sha256').update(token).digest('hex') }
}

/** A new file that only this user may read. @throws ClawctlError USAGE, NOT_WRITABLE */
export function newFile(path: string | undefined): TokenPlace {
  if (path === undefined) {
    throw new ClawctlError('USAGE', 'A read token is written into a file, but none was named.', {
      hint: 'Name a new one with --to FILE.',
    })
  }
  return {
    async write(_id, token) {
      try {
        await writeFile(path, `${token}\n`, { mode: 0o600, flag: 'wx' })
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        throw new ClawctlError('NOT_WRITABLE', `${path} can't be created (${code}).`, { hint: 'Name a new file.' })
      }
      return path
    },
  }
}
