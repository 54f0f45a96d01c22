import { custom } from '@oclif/core/flags'
import ms from 'ms'
import { ClawctlError } from '../domain/errors.js'

/** The longest wait that an option accepts. */
const LONGEST_MS = 86_400_000

/**
 * A duration such as 90s or 30m, parsed to milliseconds. The command applies the default: a default in oclif
 * would make --help load the command.
 */
export function durationFlag(options: { summary: string; default: string; env?: string; longest?: ms.StringValue }) {
  return custom<number>({
    summary: `${options.summary} Default: ${options.default}.`,
    helpValue: 'DURATION',
    ...(options.env ? { env: options.env } : {}),
    parse: async (input) =>
      parseDuration(input || options.default, options.longest === undefined ? LONGEST_MS : ms(options.longest)),
  })()
}

function parseDuration(text: string, longestMs: number): number {
  const value = /^\d+(?:\.\d+)?\s*[a-z]+$/i.test(text) ? ms(text as ms.StringValue) : Number.NaN
  if (Number.isFinite(value) && value > 0 && value <= longestMs) return value
  throw new ClawctlError('USAGE', `${JSON.stringify(text)} is not a duration.`, { hint: 'Write it as 90s, 30m or 2h.' })
}
