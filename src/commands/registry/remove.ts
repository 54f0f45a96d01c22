import { string as stringArg } from '@oclif/core/args'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { editFlags } from '../../lib/cli/registryFlags.js'
import { renderEdit } from '../../lib/cli/render/registry.js'
import { changeRegistry } from '../../lib/ops/registry/changeRegistry.js'

export default class RegistryRemove extends BaseCommand {
  static override summary = 'Remove an instance from nix/instances.json, and say what stays of it.'
  static override description =
    'Its host file goes with it, unless somebody has written into it. The machine is left running: it is an orphan until it is retired.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    '<%= config.bin %> <%= command.id %> clawdinator-2 --pr --requested-by "Jo"',
  ]
  static override args = {
    id: stringArg({ description: 'Id of the instance, as `clawctl registry list` prints it.', required: true }),
  }
  static override flags = editFlags

  async run(): Promise<object> {
    const { args, flags, raw } = await this.parse(RegistryRemove)
    this.refuseEmptyFlags(raw)
    const context = this.context(flags)
    const { checkout, repository, steps } = await context.registryWiring()
    const result = await changeRegistry(
      { kind: 'remove', id: args.id },
      {
        dryRun: flags['dry-run'],
        pr: flags.pr,
        asker: { requestedBy: flags['requested-by'] ?? null, caller: context.caller },
      },
      { checkout, repository, steps: steps(undefined) },
    )
    this.log(renderEdit(result, 'remove', this.paint))
    return result
  }
}
