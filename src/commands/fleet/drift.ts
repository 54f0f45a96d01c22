import { boolean } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { checkDrift } from '../../lib/ops/drift/checkDrift.js'

export default class FleetDrift extends BaseCommand<typeof FleetDrift> {
  static override summary = 'Say what runs otherwise than the registry, the stack or the last deploy have it.'
  static override description =
    'ci mode only. Plans the fleet stack without applying or locking anything, looks at EC2 and at the records of the deploys, and exits 0 where nothing differs, 3 (DRIFT) where something does.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --mode ci',
    {
      description: 'In a scheduled workflow: keep one issue in step with it',
      command: '<%= config.bin %> <%= command.id %> --issue',
    },
    {
      description: 'What to type about each difference',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.drift.differences[].fix'`,
    },
  ]
  static override flags = {
    issue: boolean({
      summary: 'Open one GitHub issue about it, renew it, and close it when nothing differs any more.',
    }),
  }

  async work() {
    const { context } = this
    const ports = await context.pick('registry', 'compute', 'store', 'tofu', 'clock', 'progress', 'report')
    const planFile = (await context.port('planFile'))('drift')
    const issues = this.flags.issue ? await context.port('issues') : null
    return { drift: await checkDrift({ ...ports, planFile, issues }) }
  }

  override render() {
    return 'The fleet is as declared.'
  }

  protected override readonly direct = { what: '`fleet drift` uses', workflow: 'fleet-drift.yml' }
}
