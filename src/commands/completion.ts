import { string as stringArg } from '@oclif/core/args'
import { BaseCommand } from '../lib/cli/baseCommand.js'
import { completionScript, SHELLS, type Shell } from '../lib/cli/completion.js'

export default class Completion extends BaseCommand {
  static override summary = 'Print the completion script of your shell.'
  static override examples = [
    'source <(<%= config.bin %> <%= command.id %> bash)',
    '<%= config.bin %> <%= command.id %> fish > ~/.config/fish/completions/clawctl.fish',
  ]
  static override args = {
    shell: stringArg({ description: 'Which shell.', options: [...SHELLS], required: true }),
  }

  async run(): Promise<object> {
    const { args } = await this.parse(Completion)
    const commands = this.config.commands
      .filter((command) => !command.hidden)
      .map((command) => ({
        id: command.id.replaceAll(':', ' '),
        summary: command.summary ?? '',
        targets: 'target' in command.args,
        values: Object.values(command.args)[0]?.options ?? [],
        flags: Object.values(command.flags).map((flag) => ({
          name: flag.name,
          summary: flag.summary ?? flag.description ?? '',
          takesValue: flag.type === 'option',
          options: flag.type === 'option' ? (flag.options ?? []) : [],
        })),
      }))
    const script = completionScript(args.shell as Shell, commands)
    process.stdout.write(this.jsonEnabled() ? '' : script)
    return { script }
  }
}
