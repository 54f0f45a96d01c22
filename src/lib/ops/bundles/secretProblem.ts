import { inspectAge } from '../../domain/bundles/age.js'
import type { SecretsListing } from './ports.js'

/** What keeps `<name>.age` of a secrets directory from being uploaded, as the end of a sentence; null where nothing does. */
export function secretProblem({ files, problems }: SecretsListing, name: string): string | null {
  const file = files.find((one) => one.name === name)
  if (!file) return problems.find((one) => one.file === `${name}.age`)?.problem ?? 'is missing'
  const form = inspectAge(file.bytes)
  return form.ok ? null : form.problem
}
