import { inspectAge } from '../../domain/bundles/age.js'
import type { SecretsListing } from './ports.js'

/** Why `<name>.age` of a secrets directory can't be uploaded, as the end of a sentence; null if it can. */
export function secretProblem({ files, problems }: SecretsListing, name: string): string | null {
  const file = files.find((one) => one.name === name)
  if (!file) return problems.find((one) => one.file === `${name}.age`)?.problem ?? 'is missing'
  const form = inspectAge(file.bytes)
  return form.ok ? null : form.problem
}
