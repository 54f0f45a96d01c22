/** As much of a line as a reason repeats. */
const LONGEST = 200

/** The serial console without what would control a terminal. */
export function consoleLines(text: string): string[] {
  return text
    .split(/\r\n|\r|\n/)
    .map((line) =>
      line
        // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one
        .replace(/\u001b\[[0-?]*[ -/]*[@-~]/g, '')
        .replace(/[\p{Cc}\p{Cf}]/gu, '')
        .trimEnd(),
    )
    .filter((line) => line.trim() !== '')
}

/** The line of a boot's console that says most of why it failed: our own units' last word, else the last line. */
export function consoleReason(text: string): string | null {
  const lines = consoleLines(text)
  const own = lines.filter((line) => /clawdinator/i.test(line) && !/login:/.test(line))
  return (own.at(-1) ?? lines.at(-1))?.trim().slice(0, LONGEST) ?? null
}
