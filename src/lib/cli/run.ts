import type { Command } from '@oclif/core/command'
import { Config } from '@oclif/core/config'
import type { Manifest, PJSON, Plugin } from '@oclif/core/interfaces'
import { run } from '@oclif/core/run'
import { asFailure, printFailure } from './failure.js'

interface Package {
  root: string
  /** A JSON file of the package. */
  read(name: string): unknown
  /** A command's module: commands are entries, which no module imports. */
  load(path: readonly string[]): Promise<unknown>
}

/** Runs one command. Errors before or outside the command are printed like the command's own. */
export async function runCli(typed: string[], installed: Package): Promise<void> {
  // `clawctl help fleet deploy`, as with git and npm.
  const argv = typed[0] === 'help' ? [...typed.slice(1), '--help'] : typed
  const end = argv.indexOf('--')
  const json = (end < 0 ? argv : argv.slice(0, end)).includes('--json')
  try {
    const commands = commandsOf(installed)
    const config = await Config.load({ root: installed.root, plugins: new Map([[commands.name, commands]]) })
    await run(argv, config)
  } catch (error) {
    // oclif ends `--help` with an exit "error" of code 0.
    if ((error as { oclif?: { exit?: number } }).oclif?.exit === 0) return
    printFailure(asFailure(error), json)
  }
}

/**
 * The commands of the manifest as an oclif plugin. oclif's own loader also looks for plugins in the home folder, and sorts
 * with the locale's collation, which adds 5 ms to a start.
 */
function commandsOf({ root, read, load }: Package): Plugin {
  const pjson = read('package.json') as PJSON
  const manifest = read('oclif.manifest.json') as Manifest
  const { name, version, oclif } = pjson
  const findCommand = async (id: string) => {
    const { default: command } = (await load(manifest.commands[id]?.relativePath ?? [])) as { default: Command.Class }
    return Object.assign(command, { id, plugin })
  }
  const plugin: Plugin = {
    _base: name,
    alias: name,
    commandIDs: Object.keys(manifest.commands),
    commands: Object.values(manifest.commands).map((command) => ({ ...command, load: () => findCommand(command.id) })),
    commandsDir: undefined,
    findCommand,
    hasManifest: true,
    hooks: Object.fromEntries(
      Object.entries(oclif.hooks ?? {}).map(([event, target]) => [
        event,
        [{ target: String(target), identifier: 'default' }],
      ]),
    ),
    isRoot: true,
    load: async () => {},
    moduleType: 'module',
    name,
    options: { root },
    pjson,
    root,
    topics: Object.entries(oclif.topics ?? {}).map(([topic, about]) => ({ ...about, name: topic })),
    type: 'core',
    valid: true,
    version,
  }
  return plugin
}
