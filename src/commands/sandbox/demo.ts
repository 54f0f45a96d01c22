import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { loadSandbox } from '../../lib/cli/sandboxFlags.js'

export default class SandboxDemo extends BaseCommand {
  static override summary = 'Play the tour: status, first deploy, refusals, a rolling deploy, a rollback, history.'
  static override description =
    'Every command is real and runs in a fresh sandbox. Ends with an error where one does not end as it should.'
  static override examples = ['<%= config.bin %> <%= command.id %>']

  async run(): Promise<object> {
    const { flags } = await this.parse(SandboxDemo)
    const { playDemo, request } = await loadSandbox(
      {},
      { packageRoot: this.config.root, checkout: this.context(flags).checkout },
    )
    return { steps: await playDemo(request, { quiet: this.jsonEnabled() }) }
  }
}
