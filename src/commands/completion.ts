import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'
import { completionScript, SHELLS, type Shell } from '../lib/cli/completion.js'

export default class Completion extends BaseCommand<typeof Completion> {
  static override summary = 'Print the completion script of your shell.'
  static override description =
    'Ids, AMIs and request ids are read when they are completed: from the checkout, else from the Control API. In zsh, run compinit first.'
  static override examples = [
    { description: 'In ~/.bashrc', command: 'source <(<%= config.bin %> <%= command.id %> bash)' },
    {
      description: 'In ~/.zshrc, after `autoload -Uz compinit && compinit`',
      command: 'source <(<%= config.bin %> <%= command.id %> zsh)',
    },
    {
      description: 'Once, in fish',
      command: '<%= config.bin %> <%= command.id %> fish > ~/.config/fish/completions/clawctl.fish',
    },
  ]
  static override args = {
    shell: stringArg({ description: 'Which shell.', options: [...SHELLS], required: true }),
  }

  async work() {
    const commands = this.config.commands
      .filter((command) => !command.hidden)
      .map((command) => ({
        id: command.id.replaceAll(':', ' '),
        summary: command.summary ?? '',
        args: Object.values(command.args).map(({ name, options }) => ({ name, options: options ?? [] })),
        flags: Object.values(command.flags).map((flag) => ({
          name: flag.name,
          summary: flag.summary ?? flag.description ?? '',
          takesValue: flag.type === 'option',
          options: flag.type === 'option' ? (flag.options ?? []) : [],
          ...(flag.type === 'option' && typeof flag.helpValue === 'string' ? { helpValue: flag.helpValue } : {}),
        })),
      }))
    return { script: completionScript(this.args.shell as Shell, commands) }
  }

  override render({ script }: Result<this>) {
    return script.replace(/\n$/, '')
  }
}
