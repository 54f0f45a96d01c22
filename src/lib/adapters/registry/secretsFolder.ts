import { open, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import type { SecretState } from '../../domain/preflight/local.js'
import type { SecretsFolder } from '../../ops/registry/ports.js'

/** How an age file begins, binary and armored. */
const BEGINNINGS = ['age-encryption.org/v1\n', '-----BEGIN AGE ENCRYPTED FILE-----']
const LONGEST = Math.max(...BEGINNINGS.map((text) => text.length))

/** A checkout of nix-secrets, of which no more than the first line of a file is read. */
export function secretsFolder(path: string, cwd: string): SecretsFolder {
  const folder = resolve(cwd, path)
  const look = async (name: string): Promise<SecretState> => {
    if (!(await stat(folder).catch(() => null))?.isDirectory()) {
      throw new ClawctlError('NOT_CONFIGURED', `There is no folder ${folder}.`, {
        hint: 'Give --secrets-dir (or CLAWCTL_SECRETS_DIR) the checkout of nix-secrets.',
      })
    }
    const head = await headOf(join(folder, `${name}.age`))
    if (head === null) return 'missing'
    if (head === '') return 'empty'
    return BEGINNINGS.some((text) => head.startsWith(text)) ? 'encrypted' : 'plaintext'
  }
  return { path, look }
}

async function headOf(file: string): Promise<string | null> {
  const handle = await open(file, 'r').catch(() => null)
  if (!handle) return null
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(LONGEST), 0, LONGEST, 0)
    return buffer.toString('latin1', 0, bytesRead)
  } catch {
    return null // a folder of that name
  } finally {
    await handle.close()
  }
}
