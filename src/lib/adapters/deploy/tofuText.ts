/** What clawctl reads from OpenTofu's words for people: there is no JSON for errors that come before or instead of an apply. */

/** Enough for any single diagnostic; more belongs in the log. */
const MAX_BLOCK_BYTES = 2048

/** The first `Error: …` with its text, or '' where there is none. */
export function errorBlock(stderr: string): string {
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

/** Who holds the state's lock, or null where the failure was another. */
export function heldLock(stderr: string): { id: string; who: string; created: string } | null {
  const text = plain(stderr)
  if (!text.includes('Error acquiring the state lock')) return null
  const field = (name: string) => new RegExp(`^\\s*${name}:[ \\t]*(\\S.*?)\\s*$`, 'm').exec(text)?.[1]
  const id = field('ID')
  // without an id nobody holds it: the lock itself could not be read or written
  return id ? { id, who: field('Who') ?? 'unknown', created: field('Created') ?? 'unknown' } : null
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
