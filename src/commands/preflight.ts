import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'
import { secretsDirFlag } from '../lib/cli/bundleFlags.js'
import { renderPreflight, renderPreflightForChat } from '../lib/cli/render/preflight.js'
import { preflight, requirePassed } from '../lib/ops/preflight/preflight.js'

export default class PreflightCommand extends BaseCommand<typeof PreflightCommand> {
  static override summary = "Run the runbook's checks: verify that deploys from chat will work."
  static override description =
    "On a laptop and on a host it gets the server's checks from the Control API, and checks the checkout and the settings of this machine. In ci mode it uses AWS and GitHub directly. Changes nothing. Exits with 1 if a check failed; a skipped check is not a failure."
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --secrets-dir ../nix-secrets',
    {
      description: 'The failed checks and their fixes',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.preflight.checks[] | select(.status=="fail") | .title, .fix'`,
    },
  ]
  static override flags = {
    chat: boolean({ summary: 'Print a short form for a chat message.' }),
    'secrets-dir': secretsDirFlag,
  }

  protected override readonly inJobSummary = true

  async work() {
    return { preflight: await preflight(await this.context.port('flight')) }
  }

  override render({ preflight: flight }: Result<this>) {
    return this.flags.chat ? renderPreflightForChat(flight) : renderPreflight(flight, this.paint)
  }

  override verdict({ preflight: flight }: Result<this>) {
    requirePassed(flight)
  }
}
