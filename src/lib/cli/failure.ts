import { asFullDisk, ClawctlError, errorBody, exitCodeOf } from '../domain/errors.js'
import { nearest } from '../domain/nearest.js'
import { painter, printable, printableJson } from './text.js'

interface FailedCommand {
  id: string | undefined
  flags: readonly string[]
}

/** Anything that a command throws, as a ClawctlError. An error of oclif's parser becomes USAGE. */
export function asFailure(error: unknown, command?: FailedCommand): ClawctlError {
  if (error instanceof ClawctlError) {
    // oclif wraps the errors that a flag's parser throws in its own message.
    error.message = plainWords(error.message)
    return error
  }
  const { message, name } = error as Error
  const oclif = error as { oclif?: { exit?: number }; args?: ParsedArg[] }
  const id = command?.id?.replaceAll(':', ' ') ?? ''
  if (oclif.oclif !== undefined || name === 'CLIError') {
    return new ClawctlError('USAGE', usageMessage(message, oclif.args), {
      hint: suggestion(message, command) ?? `See \`${['clawctl', id, '--help'].filter(Boolean).join(' ')}\`.`,
      cause: error,
    })
  }
  const full = asFullDisk(error)
  if (full !== null) return full
  return new ClawctlError('INTERNAL', `${name}: ${message}`, {
    hint: 'This is a defect of clawctl. Run the command again with DEBUG=clawctl for the stack, and report it.',
    cause: error,
  })
}

const whatFor = ({ options, description }: ParsedArg) =>
  options && options.length > 0 ? `one of ${options.join(', ')}.` : (description ?? 'it is required')

interface ParsedArg {
  name: string
  description?: string
  options?: readonly string[]
}

function usageMessage(message: string, args: ParsedArg[] | undefined): string {
  if (/^Missing \d+ required arg/.test(message) && args && args.length > 0) {
    return args.map((arg) => `${arg.name.toUpperCase()} is missing: ${whatFor(arg)}`).join(' ')
  }
  return plainWords(message)
}

/** Commands whose argument may be `all`. */
const WITH_TARGET = /^(?:fleet:(?:deploy|rollback|freeze|unfreeze)|bootstrap:(?:upload|verify))$/

function plainWords(message: string): string {
  return message
    .replace(/\n?See more help with --help$/, '')
    .replace(/^Parsing (--\S+)\s+/, '$1: ')
    .replace(/^The following errors? occurred:\s+/, '')
    .trim()
    .replace(/^Missing required flags? ([\w-]+)$/, '--$1 is missing.')
}

function suggestion(message: string, command: FailedCommand | undefined): string | undefined {
  const unknown = /^Nonexistent flags?: (--[^\s,=]+)/.exec(message)?.[1]
  if (unknown === '--all' && command?.id && WITH_TARGET.test(command.id)) {
    return `All instances are the target \`all\`: \`clawctl ${command.id.replaceAll(':', ' ')} all\`.`
  }
  const near =
    unknown &&
    command &&
    nearest(
      unknown,
      [...command.flags, 'json'].map((f) => `--${f}`),
    )
  return near ? `Did you mean ${near}?` : undefined
}

/** The only options allowed before a command. */
const OPTIONS = ['--help', '-h', '--version', '-v', '--json']

/** @param typed an oclif id, or its words: the text typed in the place of a command */
export function unknownCommand(
  typed: string,
  config: { commandIDs: string[]; topics: readonly { name: string }[] },
): ClawctlError {
  const words = typed.replaceAll(':', ' ')
  // oclif's topics include the commands.
  const ids = [
    ...new Set([...config.commandIDs, ...config.topics.map(({ name }) => name)].map((id) => id.replaceAll(':', ' '))),
  ]
  if (OPTIONS.includes(words)) {
    return new ClawctlError('USAGE', 'No command was given.', { hint: 'See `clawctl --help` for the commands.' })
  }
  if (words.startsWith('-')) {
    const near = nearest(words, OPTIONS)
    return new ClawctlError('USAGE', `There is no option ${words} before a command.`, {
      hint: near ? `Did you mean ${near}?` : 'See `clawctl --help`.',
    })
  }
  // If a command has no argument, oclif counts every word as part of the id.
  const command = ids.find((id) => words.startsWith(`${id} `) && config.commandIDs.includes(id.replaceAll(' ', ':')))
  if (command) {
    const rest = words.slice(command.length + 1)
    return new ClawctlError('USAGE', `${command} takes no argument ${JSON.stringify(rest)}.`, {
      hint:
        command === 'fleet status'
          ? `\`clawctl fleet show ${rest}\` shows one instance.`
          : `See \`clawctl ${command} --help\`.`,
    })
  }
  const wanted = words.split(' ').slice(0, 2)
  const hint = hintFor(wanted, ids)
  return new ClawctlError('USAGE', `There is no command "${wanted.join(' ')}".`, { hint })
}

/** Hints for command names of other tools, by their last word. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  logs: '`clawctl fleet show ID` shows boot and console of an instance, `clawctl fleet follow REQUEST` a deploy.',
  ps: '`clawctl fleet status` shows the instances.',
  releases: '`clawctl fleet history` shows the deploys.',
  destroy: '`clawctl registry remove ID`, then `clawctl fleet deploy ID --retire`, destroys an instance.',
  open: '`clawctl fleet status --web` opens the page of the Control API.',
  version: '`clawctl --version` prints the version.',
}

function hintFor(wanted: readonly string[], ids: readonly string[]): string {
  const [first = ''] = wanted
  // `clawctl status`: the topic was left out.
  const without = wanted.length === 1 ? ids.filter((id) => id.endsWith(` ${first}`)) : []
  if (without.length > 0) return `Did you mean ${without.map((id) => `\`clawctl ${id}\``).join(' or ')}?`
  const elsewhere = ELSEWHERE[wanted.at(-1) ?? '']
  if (elsewhere) return elsewhere
  const near = nearest(wanted.join(' '), ids) ?? nearest(first, ids)
  return near ? `Did you mean \`clawctl ${near}\`?` : 'See `clawctl --help` for the commands.'
}

/** GitHub shows ten of a step. */
const ANNOTATIONS = 10

/** Prints the error on stderr for people, or with --json as the one document on stdout. Sets the exit code. */
export function printFailure(failure: ClawctlError, json: boolean): void {
  process.exitCode = exitCodeOf(failure.code)
  if (json) {
    const document = { ok: false, error: errorBody(failure), ...failure.partial }
    process.stdout.write(`${printableJson(document)}\n`)
  } else {
    const paint = painter(process.stderr)
    const head = `${paint('red', 'Error')} ${paint('dim', `(${failure.code})`)}`
    process.stderr.write(`${head}: ${printable(failure.message)}\n`)
    for (const line of failure.details) process.stderr.write(`  ${printable(line)}\n`)
    if (failure.hint) process.stderr.write(`  ${printable(failure.hint)}\n`)
  }
  if (process.env.GITHUB_ACTIONS === 'true') {
    for (const line of [failure.message, ...failure.details].slice(0, ANNOTATIONS)) {
      process.stderr.write(`::error title=${failure.code}::${escapeWorkflowCommand(printable(line))}\n`)
    }
  }
  if (process.env.DEBUG?.includes('clawctl'))
    process.stderr.write(printable(`${failure.stack}\n${stackOf(failure.cause)}\n`))
}

function stackOf(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? '') : ''
}

/** https://docs.github.com/actions/reference/workflow-commands-for-github-actions */
function escapeWorkflowCommand(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')
}
