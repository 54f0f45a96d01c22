import type { Heartbeat, HostEvidence } from '../contract/index.js'
import { BOOT_LINE } from '../images/names.js'

/** The part of a line that a reason quotes. */
const LONGEST = 200
/** The part of a console that is shown and stored. */
const TAIL_LINES = 20
const MAX_LINE = 160

/** Forms of tokens and keys. A console may print any of them. */
const SECRETS =
  /AGE-SECRET-KEY-[0-9A-Z]+|\b(?:gh[pousr]_|github_pat_|sk-|xox[abp]-|cct_)[\w-]{10,}|\b[MNO][\w-]{23,}\.[\w-]{6}\.[\w-]{20,}|\b\d{8,10}:[\w-]{35}\b|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|(?<=Bearer )\S+/g

export const withoutSecrets = (text: string) => text.replace(SECRETS, '[removed]')

/** The last lines of a console, without text that looks like a secret. */
export const consoleTail = (text: string): string[] =>
  consoleLines(text)
    .slice(-TAIL_LINES)
    .map((line) => withoutSecrets(line).slice(0, MAX_LINE))

/** The stored evidence about a machine that did not pass. */
export function evidenceOf(
  instanceId: string,
  ami: string,
  heartbeat: Heartbeat | null,
  console: string,
): HostEvidence {
  const { stages = [], failure = null } = heartbeat ?? {}
  return { instanceId, ami, stages, failure: failure ?? null, console: consoleTail(console) }
}

/** The serial console without escape sequences. */
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

/** The line of a console that best explains a failed boot: the last one of our own units, else the last line. */
export function consoleReason(text: string): string | null {
  // The boot line is not a reason.
  const lines = consoleLines(text).filter((line) => !line.includes(BOOT_LINE))
  const own = lines.filter((line) => /clawdinator/i.test(line) && !/login:/.test(line))
  const line = own.at(-1) ?? lines.at(-1)
  return line === undefined ? null : withoutSecrets(line.trim()).slice(0, LONGEST)
}
