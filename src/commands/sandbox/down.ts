import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { loadSandbox } from '../../lib/cli/sandboxFlags.js'

export default class SandboxDown extends BaseCommand<typeof SandboxDown> {
  static override summary = 'End the sandbox of this shell, or the only one that runs.'
  static override description = 'Prints shell lines that restore the variables, for `eval`.'
  static override examples = [
    'eval "$(<%= config.bin %> <%= command.id %>)"',
    '<%= config.bin %> <%= command.id %> --all',
  ]
  static override flags = { all: boolean({ summary: 'End every sandbox of yours.' }) }

  async work() {
    const { endSandboxes, request } = await loadSandbox(this.config.root, this.context.root)
    return { sandbox: await endSandboxes(request.env, this.flags.all) }
  }

  override render({ sandbox: { ended, unset } }: Result<this>) {
    this.logToStderr(ended.length > 0 ? `Ended ${ended.join(', ')}.` : 'No sandbox is running.')
    if (unset && process.stdout.isTTY) this.logToStderr('For this shell: eval "$(clawctl sandbox down)"')
    return unset || null
  }
}
