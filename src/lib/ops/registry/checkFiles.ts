import { ClawctlError } from '../../domain/errors.js'
import { REGISTRY_PATH } from '../../domain/paths.js'
import { checkFleetFiles, type FileProblem } from '../../domain/registry/files.js'
import { checkRegistry } from '../../domain/registry/registry.js'
import type { RegistrySource } from '../ports.js'
import type { Checkout } from './ports.js'

/** Every problem of the checkout's registry and host files. @throws ClawctlError REGISTRY_NOT_FOUND */
export async function checkFiles(
  registry: RegistrySource,
  checkout: Checkout,
): Promise<{ problems: FileProblem[]; instances: number }> {
  const [{ text }, hostFiles] = await Promise.all([registry.read(), checkout.hostFiles()])
  return { problems: checkFleetFiles(text, hostFiles), instances: checkRegistry(text).ids.length }
}

/** @throws ClawctlError INVALID_REGISTRY with the problems in `partial`, if any is more than a warning */
export function refuseErrors(problems: readonly FileProblem[]): void {
  const errors = problems.filter(({ severity }) => severity === 'error').length
  if (errors === 0) return
  throw new ClawctlError(
    'INVALID_REGISTRY',
    `${REGISTRY_PATH} has ${errors === 1 ? 'a problem' : `${errors} problems`}.`,
    {
      hint: 'Fix what is listed. `clawctl registry add` with the values of an entry creates its missing host file.',
      partial: { problems },
    },
  )
}
