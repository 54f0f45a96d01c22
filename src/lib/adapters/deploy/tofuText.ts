import { parseJson } from '../../domain/json.js'

/** Reads OpenTofu's text output: it has no JSON for errors before an apply. */

/** Enough for a diagnostic; the log has the rest. */
const MAX_BLOCK_BYTES = 2048
const LAST_LINES = 10

/** The first `Error: …` with its text, or ''. */
function errorBlock(stderr: string): string {
  const lines = plain(stderr).split('\n')
  const start = lines.findIndex((line) => line.startsWith('Error: '))
  if (start < 0) return ''
  const length = lines.slice(start + 1).findIndex((line) => /^(?:Error|Warning): /.test(line))
  const block = lines.slice(start, length < 0 ? undefined : start + 1 + length)
  return cut(
    block
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim(),
  )
}

/** OpenTofu's text about a failure: its first error, else the end of its output. */
export function failureWords(stderr: string): string {
  return errorBlock(stderr) || cut(plain(stderr).trim().split('\n').slice(-LAST_LINES).join('\n'))
}

/**
 * Finds the JSON document in stdout, which may also have warnings and other JSON.
 * @returns null if `isIt` accepts none
 */
export function jsonAmong(stdout: string, isIt: (document: unknown) => boolean): unknown {
  const lines = stdout.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (const [start, line] of lines.entries()) {
    if (!line.startsWith('{')) continue
    // In one line, or indented up to the brace at the beginning of a line.
    const end = lines.indexOf('}', start)
    for (const text of [line, ...(end < 0 ? [] : [lines.slice(start, end + 1).join('\n')])]) {
      const document = parseJson(text)
      if (document !== undefined && isIt(document)) return document
    }
  }
  return null
}

/** Without colours and without the rule down the left side. */
function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one
  return text.replace(/\u001b\[[0-9;]*m/g, '').replace(/^[│╷╵] ?/gm, '')
}

function cut(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= MAX_BLOCK_BYTES) return text
  // a character cut in two would end as U+FFFD
  return `${bytes
    .subarray(0, MAX_BLOCK_BYTES - 3)
    .toString()
    .replace(/\uFFFD+$/, '')}…`
}
