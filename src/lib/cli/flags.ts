import { string as stringArg } from '@oclif/core/args'
import { custom } from '@oclif/core/flags'
import ms from 'ms'
import { ClawctlError } from '../domain/errors.js'

/** The argument of commands for one instance or all. */
export const targetArgs = {
  target: stringArg({
    description: '`all`, or an instance id as `clawctl registry list` prints it; there is no default.',
    required: true,
  }),
}

/**
 * A duration such as 90s or 30m, parsed to milliseconds. The command applies the default: a default in oclif
 * would make --help load the command.
 */
export function durationFlag(options: {
  summary: string
  default: string
  env?: string
  shortest?: ms.StringValue
  longest?: ms.StringValue
}) {
  const { shortest, longest = '24h' } = options
  return custom<number>({
    summary: `${options.summary} Default: ${options.default}.`,
    helpValue: 'DURATION',
    ...(options.env ? { env: options.env } : {}),
    parse: async (input) => {
      const value = parseDuration(input || options.default)
      if (value > ms(longest)) throw invalid(input, `longer than ${longest}`)
      if (shortest !== undefined && value < ms(shortest)) throw invalid(input, `shorter than ${shortest}`)
      return value
    },
  })()
}

function parseDuration(text: string): number {
  const value = /^\d+(?:\.\d+)?\s*[a-z]+$/i.test(text) ? ms(text as ms.StringValue) : Number.NaN
  if (Number.isFinite(value) && value > 0) return value
  throw invalid(text, 'not a duration')
}

const invalid = (text: string, why: string) =>
  new ClawctlError('USAGE', `${JSON.stringify(text)} is ${why}.`, { hint: 'Write it as 90s, 30m or 2h.' })
