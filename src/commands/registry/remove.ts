import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { editFlags } from '../../lib/cli/registryFlags.js'
import { renderEdit } from '../../lib/cli/render/registry.js'
import { changeRegistry } from '../../lib/ops/registry/changeRegistry.js'

export default class RegistryRemove extends BaseCommand<typeof RegistryRemove> {
  static override summary = 'Remove an instance from nix/instances.json, and list what remains of it.'
  static override description =
    'The host file is removed too, unless it was edited by hand. The machine keeps running: it is an orphan until it is retired.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    '<%= config.bin %> <%= command.id %> clawdinator-2 --pr --requested-by "Jo"',
  ]
  static override args = {
    id: stringArg({ description: 'Id of the instance, as `clawctl registry list` prints it.', required: true }),
  }
  static override flags = editFlags

  async work() {
    const { context, args, flags } = this
    const { checkout, steps } = await context.pick('checkout', 'steps')
    return changeRegistry(
      { kind: 'remove', id: args.id },
      {
        dryRun: flags['dry-run'],
        pr: flags.pr,
        asker: { requestedBy: flags['requested-by'] ?? null, caller: context.caller },
      },
      { checkout, repository: () => context.port('pullRequests'), steps },
    )
  }

  override render(result: Result<this>) {
    return renderEdit(result, 'remove', this.paint)
  }
}
