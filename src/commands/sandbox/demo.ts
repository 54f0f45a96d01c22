import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { loadSandbox } from '../../lib/cli/sandboxFlags.js'

export default class SandboxDemo extends BaseCommand<typeof SandboxDemo> {
  static override summary = 'Show a tour: status, first deploy, refusals, a rolling deploy, a rollback, history.'
  static override description =
    'Every command is real and runs in a fresh sandbox. Fails if a command does not end as expected.'
  static override examples = ['<%= config.bin %> <%= command.id %>']

  async work() {
    const { playDemo, request } = await loadSandbox(this.config.root, this.context.root)
    return { steps: await playDemo(request, { quiet: this.jsonEnabled() }) }
  }
}
