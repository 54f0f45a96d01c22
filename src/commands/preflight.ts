import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'
import { secretsDirFlag } from '../lib/cli/bundleFlags.js'
import { renderPreflight, renderPreflightForChat } from '../lib/cli/render/preflight.js'
import { preflight, refuseFlight } from '../lib/ops/preflight/preflight.js'

export default class PreflightCommand extends BaseCommand<typeof PreflightCommand> {
  static override summary = "Make the runbook's checks before a flight: what must hold for deploys from chat alone."
  static override description =
    'On a laptop and on a host it asks the Control API what only the server sees, and looks at what the checkout and this machine can tell. In ci mode it asks AWS and GitHub itself. Changes nothing. Ends with 1 where a check failed; a check that nobody could make fails nothing.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --secrets-dir ../nix-secrets',
    {
      description: 'What failed, and what to do',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.preflight.checks[] | select(.status=="fail") | .title, .fix'`,
    },
  ]
  static override flags = {
    chat: boolean({ summary: 'Print what fits a chat message.' }),
    'secrets-dir': secretsDirFlag,
  }

  async work() {
    return { preflight: await preflight(await this.context.port('flight')) }
  }

  override render({ preflight: flight }: Result<this>) {
    return this.flags.chat ? renderPreflightForChat(flight) : renderPreflight(flight, this.paint)
  }

  override verdict({ preflight: flight }: Result<this>) {
    refuseFlight(flight)
  }
}
