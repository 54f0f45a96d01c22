import type { ControlSecretsReport } from '../../ops/secrets/controlSecrets.js'
import { table } from '../text.js'

/** `secrets control-api` for people: names, digests, and the change of each. */
export function renderControlSecrets(report: ControlSecretsReport & { written?: boolean }): string {
  const { key, entries, problems, written } = report
  const edited = written !== undefined
  const rows = entries.map(({ name, digest, change }) => [name, digest, ...(edited ? [change ?? '-'] : [])])
  const end = !edited
    ? problems.length === 0
      ? `${key} is complete.`
      : `${key} can't be used.`
    : written
      ? `${key} is written; the Control API uses it within five minutes.`
      : `${key} was not changed.`
  return [table(['NAME', 'SHA-256', ...(edited ? ['CHANGE'] : [])], rows), '', end].join('\n')
}
