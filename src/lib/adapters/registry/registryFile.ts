import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import { REGISTRY_PATH } from '../../domain/paths.js'
import type { RegistrySource } from '../../ops/ports.js'

/** The registry of a checkout. */
export function registryFile(checkout: string | null): RegistrySource {
  return {
    async read() {
      if (checkout === null) {
        throw new ClawctlError('REGISTRY_NOT_FOUND', `There is no ${REGISTRY_PATH} in this folder or above.`, {
          hint: 'Run the command in a checkout of the fleet, or set CLAWCTL_CHECKOUT to one.',
        })
      }
      const path = join(checkout, REGISTRY_PATH)
      try {
        const short = relative(process.cwd(), path)
        return { text: readFileSync(path, 'utf8'), origin: short.startsWith('..') ? path : short }
      } catch (error) {
        throw new ClawctlError(
          'REGISTRY_NOT_FOUND',
          `${path} can't be read (${(error as NodeJS.ErrnoException).code}).`,
          {
            hint: 'Check the path.',
            cause: error,
          },
        )
      }
    },
  }
}
