import { boolean } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { checkDrift } from '../../lib/ops/drift/checkDrift.js'

export default class FleetDrift extends BaseCommand<typeof FleetDrift> {
  static override summary = 'Report what differs between the fleet and the registry, the stack or the last deploys.'
  static override description =
    'ci mode only. Plans the fleet stack without applying or locking anything, reads EC2 and the records of the deploys, and exits with 0 if there is no difference, with 3 (DRIFT) if there is one.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --mode ci',
    {
      description: 'In a scheduled workflow: keep one issue up to date',
      command: '<%= config.bin %> <%= command.id %> --issue',
    },
    {
      description: 'The command that corrects each difference',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.drift.differences[].fix'`,
    },
  ]
  static override flags = {
    issue: boolean({
      summary: 'Open one GitHub issue about the differences, update it, and close it when there are none.',
    }),
  }

  async work() {
    const { context } = this
    const ports = await context.pick('registry', 'compute', 'store', 'tofu', 'progress', 'report')
    const planFile = (await context.port('planFile'))('drift')
    const issues = this.flags.issue ? await context.port('issues') : null
    return { drift: await checkDrift({ ...ports, planFile, issues }) }
  }

  override render() {
    return 'The fleet is as declared.'
  }

  protected override readonly direct = { what: '`fleet drift` uses', workflow: 'fleet-drift.yml' }
}
