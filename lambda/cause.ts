import type { ClawctlError } from '../src/lib/domain/errors.js'

const LONGEST = 120

/**
 * What stood behind a failure, in a word or two for the log: a kind of error with its status or system code, never its
 * message, which may quote what was sent or answered.
 */
export function causeOf(failure: ClawctlError): string | undefined {
  const { cause } = failure
  if (!(cause instanceof Error)) return undefined
  const { status, code } = cause as { status?: unknown; code?: unknown }
  const detail =
    typeof status === 'number' || typeof status === 'string' ? status : typeof code === 'string' ? code : ''
  const where = failure.code === 'INTERNAL' ? placeOf(cause) : ''
  return `${cause.name} ${detail} ${where}`
    .replace(/[^\w .:/@()-]+/g, '')
    .replace(/ +/g, ' ')
    .trim()
    .slice(0, LONGEST)
}

/** The innermost frame of the stack: a line of ours, not a word of the message. */
function placeOf(error: Error): string {
  return /^ {4}at (.+)$/m.exec((error.stack ?? '').replace(error.message, ''))?.[1] ?? ''
}
