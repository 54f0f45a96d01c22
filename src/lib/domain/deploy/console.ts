import type { Heartbeat, HostEvidence } from '../contract/index.js'
import { BOOT_LINE } from '../images/names.js'

/** As much of a line as a reason repeats. */
const LONGEST = 200
/** As much of a console as is shown and kept. */
const TAIL_LINES = 20
const LONGEST_LINE = 160

/** Forms of tokens and keys. A host removes what it knows itself; a console says whatever it likes. */
const SECRETS =
  /AGE-SECRET-KEY-[0-9A-Z]+|\b(?:gh[pousr]_|github_pat_|sk-|xox[abp]-|cct_)[\w-]{10,}|\b[MNO][\w-]{23,}\.[\w-]{6}\.[\w-]{20,}|\b\d{8,10}:[\w-]{35}\b|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|(?<=Bearer )\S+/g

export const withoutSecrets = (text: string) => text.replace(SECRETS, '[removed]')

/** The last lines of a console, without what looks like a secret. */
export const consoleTail = (text: string): string[] =>
  consoleLines(text)
    .slice(-TAIL_LINES)
    .map((line) => withoutSecrets(line).slice(0, LONGEST_LINE))

/** What is kept of a machine that did not pass. */
export function evidenceOf(
  instanceId: string,
  ami: string,
  heartbeat: Heartbeat | null,
  console: string,
): HostEvidence {
  const { stages = [], failure = null } = heartbeat ?? {}
  return { instanceId, ami, stages, failure: failure ?? null, console: consoleTail(console) }
}

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
  // That it booted is no reason.
  const lines = consoleLines(text).filter((line) => !line.includes(BOOT_LINE))
  const own = lines.filter((line) => /clawdinator/i.test(line) && !/login:/.test(line))
  const line = own.at(-1) ?? lines.at(-1)
  return line === undefined ? null : withoutSecrets(line.trim()).slice(0, LONGEST)
}
