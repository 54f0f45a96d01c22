import { Config } from '@oclif/core/config'
import { run } from '@oclif/core/run'
import { ClawctlError } from '../domain/errors.js'
import { nearest } from '../domain/nearest.js'
import { asFailure, printFailure } from './failure.js'

/** Runs one command; whatever goes wrong before it is found or beside it is told like a command's own failure. */
export async function runCli(typed: string[], root: string): Promise<void> {
  // `clawctl help fleet deploy`, as git and npm have it.
  const argv = typed[0] === 'help' ? [...typed.slice(1), '--help'] : typed
  const end = argv.indexOf('--')
  const json = (end < 0 ? argv : argv.slice(0, end)).includes('--json')
  try {
    const config = await Config.load({ root })
    const unknown = unknownCommand(argv, config)
    if (unknown) throw unknown
    await run(argv, config)
  } catch (error) {
    // oclif ends `--help` with an exit "error" of code 0.
    if ((error as { oclif?: { exit?: number } }).oclif?.exit === 0) return
    printFailure(asFailure(error), json)
  }
}

/** oclif would only say "not found"; a topic by itself shows its help, as `clawctl fleet` does. */
function unknownCommand(argv: readonly string[], config: Config): ClawctlError | null {
  const flag = argv.findIndex((word) => word.startsWith('-'))
  const words = flag < 0 ? argv : argv.slice(0, flag)
  if (words.length === 0) return unknownOption(argv[0])
  const typed = words.join(' ')
  const ids = config.commandIDs.map((id) => id.replaceAll(':', ' '))
  const topics = config.topics.map((topic) => topic.name.replaceAll(':', ' '))
  const isCommand = ids.some((id) => typed === id || typed.startsWith(`${id} `))
  if (isCommand || topics.includes(typed)) return null
  const wanted = words.slice(0, 2).join(' ')
  const near = nearest(wanted, ids) ?? nearest(words[0] ?? '', [...topics, ...ids])
  return new ClawctlError('USAGE', `There is no command "${wanted}".`, {
    hint: near ? `Did you mean \`clawctl ${near}\`?` : 'See `clawctl --help` for the commands.',
  })
}

/** Before any command there are only these. */
const OPTIONS = ['--help', '-h', '--version', '-v', '--json']

function unknownOption(word: string | undefined): ClawctlError | null {
  if (word === undefined || OPTIONS.includes(word)) return null
  const near = nearest(word, OPTIONS)
  return new ClawctlError('USAGE', `There is no option ${word} before a command.`, {
    hint: near ? `Did you mean ${near}?` : 'See `clawctl --help`.',
  })
}
