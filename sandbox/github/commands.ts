/** `::name key=value,key2=value2::message` */
export interface Command {
  name: string
  properties: Record<string, string>
  message: string
}

function unescaped(text: string): string {
  return text.replaceAll('%0D', '\r').replaceAll('%0A', '\n').replaceAll('%25', '%')
}

/** The workflow command in a line of output, if it is one. */
export function parseCommand(line: string): Command | null {
  const match = /^\s*::([A-Za-z][\w-]*)(?: ([^\n]*?))?::([^\n]*)$/.exec(line)
  if (!match) return null
  const properties: Record<string, string> = {}
  for (const pair of (match[2] ?? '').split(',')) {
    const equals = pair.indexOf('=')
    if (equals <= 0) continue
    const value = pair
      .slice(equals + 1)
      .replaceAll('%3A', ':')
      .replaceAll('%2C', ',')
    properties[pair.slice(0, equals).trim()] = unescaped(value)
  }
  return { name: (match[1] ?? '').toLowerCase(), properties, message: unescaped(match[3] ?? '') }
}

/** Whether this line is `::token::`, which ends `::stop-commands::token`. */
export function endsStop(line: string, token: string): boolean {
  return line.trim() === `::${token}::`
}

/**
 * GITHUB_ENV and GITHUB_OUTPUT: `name=value` lines and `name<<DELIMITER` blocks.
 * @throws Error with GitHub's own text
 */
export function parsePairs(content: string): [name: string, value: string][] {
  const pairs: [string, string][] = []
  const lines = content.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i] ?? ''
    if (line === '') continue
    const equals = line.indexOf('=')
    const heredoc = line.indexOf('<<')
    if (equals >= 0 && (heredoc < 0 || equals < heredoc)) {
      if (equals === 0) throw new Error(`Invalid format '${line}'. Name must not be empty`)
      pairs.push([line.slice(0, equals), line.slice(equals + 1)])
    } else if (heredoc >= 0) {
      const name = line.slice(0, heredoc)
      const delimiter = line.slice(heredoc + 2)
      if (name === '' || delimiter === '') {
        throw new Error(`Invalid format '${line}'. Name must not be empty and delimiter must not be empty`)
      }
      const end = lines.indexOf(delimiter, i + 1)
      if (end < 0) throw new Error(`Invalid value. Matching delimiter not found '${delimiter}'`)
      pairs.push([name, lines.slice(i + 1, end).join('\n')])
      i = end
    } else {
      throw new Error(`Invalid format '${line}'`)
    }
  }
  return pairs
}
