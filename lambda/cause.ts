import type { ClawctlError } from '../src/lib/domain/errors.js'

const LONGEST = 120

/**
 * The cause of a failure for the log: the error's name with its status or system code. Its message is left out, because
 * it may quote a request or an answer.
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

/** The innermost frame of the stack, without any text of the message. */
function placeOf(error: Error): string {
  return /^ {4}at (.+)$/m.exec((error.stack ?? '').replace(error.message, ''))?.[1] ?? ''
}
