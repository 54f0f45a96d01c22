import type { CellState, SecretsReport } from '../../../ops/bundles/checkSecrets.js'
import { type painter, table } from '../../text.js'

type Paint = ReturnType<typeof painter>

const MARKS: Record<CellState, readonly [mark: string, style: Parameters<Paint>[0]]> = {
  ok: ['✔', 'green'],
  missing: ['✖ missing', 'red'],
  bad: ['✖ bad', 'red'],
  untested: ['✔ untested', 'yellow'],
}

/** `secrets check` for people: instances down, secrets across. */
export function renderSecrets(report: SecretsReport, paint: Paint): string {
  const rows = report.instances.map(({ id, cells }) => [
    id,
    ...cells.map(({ state, name, title }) => {
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
    ...list('Orphans, needed by nobody', report.orphans),
    ...list('Not secrets by their names', report.strays),
    ...list('Not tested', report.notes),
    wrong === 0
      ? paint('green', 'Every instance has what it needs.')
      : paint('red', `${wrong} ${wrong === 1 ? 'problem' : 'problems'}: an upload would be refused.`),
  ].join('\n')
}
