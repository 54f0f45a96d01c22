import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colour only on a terminal, and never with NO_COLOR: https://no-color.org */
export function painter(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env) {
  const on = Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb'
  return (style: Style, text: string) => (on ? styleText(style, text) : text)
}

export type Paint = ReturnType<typeof painter>

/** A column of a table; one without `narrow` always keeps its width: ids and states. */
export interface Column {
  title: string
  /** The order in which columns are shortened on a narrow terminal, from 1. */
  narrow?: number
  /** The shorter form; without it the column is dropped. */
  short?: (cell: string) => string
}

/**
 * Columns padded to their widest cell. If the table is wider than the terminal, columns are shortened in their order, then
 * the gaps; if it is still too wide, every row becomes a block of lines. Colours in cells do not count as width.
 * @param width in characters; infinite without a terminal
 */
export function table(
  columns: readonly (Column | string)[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string {
  const all = columns.map((column) => (typeof column === 'string' ? { title: column } : column))
  const steps = all.flatMap(({ narrow }) => narrow ?? []).sort((a, b) => a - b)
  for (const step of [0, ...steps]) {
    const text = grid(all, rows, step, '  ')
    if (fits(text, width)) return text
  }
  const close = grid(all, rows, Number.POSITIVE_INFINITY, ' ')
  return fits(close, width) ? close : blocks(all, rows)
}

const fits = (text: string, width: number) => text.split('\n').every((line) => seen(line) <= width)

function grid(columns: readonly Column[], rows: readonly (readonly string[])[], step: number, gap: string): string {
  const kept = columns.flatMap(({ title, narrow, short }, index) => {
    if (narrow === undefined || narrow > step) return [[title, ...rows.map((row) => row[index] ?? '')]]
    return short ? [[title, ...rows.map((row) => short(row[index] ?? ''))]] : []
  })
  const widths = kept.map((cells) => Math.max(...cells.map(seen)))
  return [null, ...rows]
    .map((_, line) =>
      kept
        .map((cells, column) => (cells[line] ?? '') + ' '.repeat((widths[column] ?? 0) - seen(cells[line] ?? '')))
        .join(gap)
        .trimEnd(),
    )
    .join('\n')
}

function blocks(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const label = Math.max(...columns.map(({ title }) => title.length))
  const block = (row: readonly string[]) =>
    columns.map(({ title }, index) => `${title.padEnd(label)}  ${row[index] ?? ''}`.trimEnd()).join('\n')
  return rows.map(block).join('\n\n')
}

/** Columns of the terminal; no limit for a pipe or an unknown width. */
export const terminalWidth = () => (process.stdout.isTTY && process.stdout.columns) || Number.POSITIVE_INFINITY

function seen(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape that begins a colour
  return text.replace(/\u001b\[[0-9;]*m/g, '').length
}

/** "3m", "2h", "5d": the largest unit is enough to see how old something is. */
export function age(from: string | null, now: Date): string {
  if (!from) return '-'
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(from)) / 1000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** "4s", "1m 3s", "2h 5m": how long something took. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`
  return `${Math.floor(seconds / 3600)}h ${Math.floor((seconds % 3600) / 60)}m`
}

/** What moves a cursor, sets a title, or changes the order in which a line is read; newlines and tabs stay. */
const UNPRINTABLE = /[^\P{Cc}\n\t]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/gu
/** The styles that `painter` uses. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape that begins a colour
const STYLED = /(\u001b\[(?:1|2|22|3[1-6]|39)m)/

/**
 * Text from outside, for a terminal or a log: without control and bidi characters, and in a workflow without lines that the
 * runner takes as a command (`::`). Our own colours stay.
 */
export function printable(text: string): string {
  const plain = text
    .split(STYLED)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(UNPRINTABLE, '')))
    .join('')
  if (process.env.GITHUB_ACTIONS !== 'true') return plain
  return plain.replace(/^(\s*):(?=:)/gm, '$1: ').replaceAll('##[', '## [')
}

/** A document for stdout: the same data, with every character that `printable` removes written as an escape. */
export function printableJson(document: unknown): string {
  const escaped = (char: string) => (char === '\n' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return JSON.stringify(document, null, 2).replace(UNPRINTABLE, escaped)
}
