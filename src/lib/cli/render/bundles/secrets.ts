import type { CellState, SecretsReport } from '../../../ops/bundles/checkSecrets.js'
import type { Rekeyed } from '../../../ops/bundles/rekey.js'
import { type Paint, table } from '../../text.js'

const MARKS: Record<CellState, readonly [mark: string, style: Parameters<Paint>[0]]> = {
  ok: ['✔', 'green'],
  missing: ['✖ missing', 'red'],
  bad: ['✖ bad', 'red'],
  untested: ['? untested', 'yellow'],
}

/** `secrets check` for people: instances down, secrets across. */
export function renderSecrets(report: SecretsReport, paint: Paint): string {
  const rows = report.instances.map(({ id, cells }) => [
    id,
    ...cells.map(({ state, name, title, required }) => {
      if (state === 'missing' && !required) return '-'
      const [mark, style] = MARKS[state]
      const own = title === 'Control token' && name.endsWith(id) ? ' own' : ''
      return paint(style, mark) + own
    }),
  ])
  const list = (title: string, names: readonly string[]) => (names.length > 0 ? [`${title}: ${names.join(', ')}`] : [])
  const wrong = report.problems.length
  return [
    table(['INSTANCE', ...report.columns.map((title) => title.toUpperCase())], rows),
    '',
    ...list('Needed by no instance', report.orphans),
    ...list('Ignored, because their names are not names of secrets', report.strays),
    verdict(report, wrong, paint),
  ].join('\n')
}

function verdict({ untested }: SecretsReport, wrong: number, paint: Paint): string {
  if (wrong > 0) return paint('red', `${wrong} ${wrong === 1 ? 'problem' : 'problems'}: an upload would be refused.`)
  if (untested === 0) return paint('green', 'Every instance has all its secrets and can decrypt them.')
  const how = 'pass --identities-dir, or --identity of a maintainer, to test them'
  return paint('yellow', `Every instance has all its secrets. ${untested} secrets are untested: ${how}.`)
}

/** `secrets identity new|rotate` for people: the files written, and the next step. */
export function renderRekeyed({ identities, written }: Rekeyed): string {
  const ids = identities.map(({ id }) => id)
  return [
    ...identities.map(({ id, recipient }) => `${id}: ${recipient}`),
    '',
    `Written: ${written.join(', ')}`,
    `Next: commit these files, then clawctl bootstrap upload ${ids.length === 1 ? ids[0] : 'all'} (or the workflow bootstrap-upload.yml).`,
  ].join('\n')
}
