import { Config } from '@oclif/core/config'
import { run } from '@oclif/core/run'
import { asFailure, printFailure } from './failure.js'

/** Runs one command. Errors before or outside the command are printed like the command's own. */
export async function runCli(typed: string[], root: string): Promise<void> {
  // `clawctl help fleet deploy`, as with git and npm.
  const argv = typed[0] === 'help' ? [...typed.slice(1), '--help'] : typed
  const end = argv.indexOf('--')
  const json = (end < 0 ? argv : argv.slice(0, end)).includes('--json')
  try {
    const config = await Config.load({ root })
    await run(argv, config)
  } catch (error) {
    // oclif ends `--help` with an exit "error" of code 0.
    if ((error as { oclif?: { exit?: number } }).oclif?.exit === 0) return
    printFailure(asFailure(error), json)
  }
}
