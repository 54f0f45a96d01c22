/** An error as OpenTofu shows it: a summary and a detailed text. */
export class Diagnostic extends Error {
  readonly summary: string
  readonly detail: string

  constructor(summary: string, detail = '') {
    super(summary)
    this.summary = summary
    this.detail = detail
  }
}

/** OpenTofu's width without a terminal. */
const WIDTH = 78

/** As OpenTofu prints it under -no-color. */
export function formatDiagnostic(severity: 'Error' | 'Warning', summary: string, detail = ''): string {
  const body = detail === '' ? '' : `\n${detail.split('\n').map(wrap).join('\n')}\n`
  return `\n${severity}: ${summary}\n${body}`
}

/** Lines that begin with a space are laid out by their author. */
function wrap(line: string): string {
  if (line.startsWith(' ') || line.length <= WIDTH) return line
  const lines = ['']
  for (const word of line.split(' ')) {
    const last = lines.length - 1
    const joined = lines[last] === '' ? word : `${lines[last]} ${word}`
    if (joined.length > WIDTH && lines[last] !== '') lines.push(word)
    else lines[last] = joined
  }
  return lines.join('\n')
}
