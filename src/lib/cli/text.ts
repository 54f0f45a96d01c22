import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colour only on a terminal that wants it: https://no-color.org */
export function painter(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env) {
  const on = Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb'
  return (style: Style, text: string) => (on ? styleText(style, text) : text)
}

/** Columns padded to their widest cell. Cells may hold colours; widths are of what is seen. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => seen(row[column] ?? ''))))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - seen(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

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

/**
 * Text from outside for the log of a workflow, where a line that begins with two colons, or blanks and two colons, is a
 * command to the runner.
 */
export function plainLines(text: string): string {
  if (process.env.GITHUB_ACTIONS !== 'true') return text
  return text.replace(/^(\s*):(?=:)/gm, '$1: ').replaceAll('##[', '## [')
}
