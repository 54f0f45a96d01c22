import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import type { SecretsFolder } from '../../ops/registry/ports.js'

/** A checkout of nix-secrets, of which only names and sizes are looked at. */
export function secretsFolder(path: string, cwd: string): SecretsFolder {
  const folder = resolve(cwd, path)
  return {
    path,
    async has(name) {
      if (!(await stat(folder).catch(() => null))?.isDirectory()) {
        throw new ClawctlError('NOT_CONFIGURED', `There is no folder ${folder}.`, {
          hint: 'Give --secrets-dir the checkout of nix-secrets.',
        })
      }
      const file = await stat(join(folder, `${name}.age`)).catch(() => null)
      return file?.isFile() === true && file.size > 0
    },
  }
}
