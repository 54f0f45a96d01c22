import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { editFlags, entryFlags } from '../../lib/cli/registryFlags.js'
import { renderEdit } from '../../lib/cli/render/registry.js'
import { changeRegistry } from '../../lib/ops/registry/changeRegistry.js'

export default class RegistryAdd extends BaseCommand<typeof RegistryAdd> {
  static override summary = 'Add an instance to nix/instances.json, with its host file, and list the remaining steps.'
  static override description =
    'Keeps order and formatting of the file, refuses values that another instance uses, and changes nothing if run again. Needs no credential, except with --pr: GITHUB_TOKEN with contents: write and pull_requests: write on GITHUB_REPO.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-3',
    '<%= config.bin %> <%= command.id %> clawdinator-3 --instance-type t3.xlarge --dry-run',
    {
      description: 'Open a pull request, as an agent on behalf of a person',
      command: '<%= config.bin %> <%= command.id %> clawdinator-3 --pr --requested-by "Jo"',
    },
  ]
  static override args = {
    id: stringArg({ description: 'Id of the new instance, such as clawdinator-3.', required: true }),
  }
  static override flags = { ...entryFlags, ...editFlags }

  async work() {
    const { context, args, flags } = this
    const { checkout, steps } = await context.pick('checkout', 'steps')
    return changeRegistry(
      {
        kind: 'add',
        entry: {
          id: args.id,
          host: flags.host,
          instanceType: flags['instance-type'],
          bootstrapPrefix: flags['bootstrap-prefix'],
          discordTokenSecret: flags['discord-token-secret'],
        },
      },
      {
        dryRun: flags['dry-run'],
        pr: flags.pr,
        asker: { requestedBy: flags['requested-by'] ?? null, caller: context.caller },
      },
      { checkout, repository: () => context.port('pullRequests'), steps },
    )
  }

  override render(result: Result<this>) {
    return renderEdit(result, 'add', this.paint)
  }
}
