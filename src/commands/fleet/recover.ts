import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { findingLine } from '../../lib/domain/deploy/recovery.js'
import { recoverFleet } from '../../lib/ops/deploy/recoverFleet.js'

export default class FleetRecover extends BaseCommand<typeof FleetRecover> {
  static override summary = 'Finish or remove what a killed deploy left behind.'
  static override description =
    'ci mode only. Compares EC2, IAM, the OpenTofu state, its locks and the records of deploys, reports the differences, and corrects them under the plan guard: it releases the lock of a run that is over, stores a state that an earlier run could not store, imports what exists, starts an active machine that is stopped, and destroys candidates that never became active. It exits with 3 (DRIFT) if a person has to decide something.'
  static override examples = [
    { description: 'Show the differences only', command: '<%= config.bin %> <%= command.id %> --plan-only' },
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    {
      description: 'Release a lock whose holder is known to be dead',
      command: '<%= config.bin %> <%= command.id %> --unlock 681e4111-d9a2-2e55-47df-fe783bbe4a91',
    },
    {
      description: 'If two machines run as one instance, destroy one',
      command: '<%= config.bin %> <%= command.id %> clawdinator-2 --terminate i-0123456789abcdef0',
    },
  ]
  static override args = {
    id: stringArg({ description: 'An instance id; without one, the whole fleet.' }),
  }
  static override flags = {
    'plan-only': boolean({ summary: 'Show it, change nothing.', env: 'CLAWCTL_PLAN_ONLY' }),
    unlock: string({
      summary: 'Release the lock of the state with this id, even if its holder may be alive.',
      helpValue: 'LOCK_ID',
      env: 'CLAWCTL_UNLOCK',
    }),
    terminate: string({
      summary: 'Destroy this machine of the fleet, even if it is active.',
      helpValue: 'i-…',
      env: 'CLAWCTL_TERMINATE',
    }),
  }

  async work() {
    const { context, args, flags } = this
    const ports = await context.pick(
      'registry',
      'compute',
      'store',
      'tofu',
      'stack',
      'locks',
      'runs',
      'clock',
      'tidyClock',
      'progress',
      'report',
      'planFile',
    )
    const recovery = await recoverFleet(
      {
        id: args.id || null,
        planOnly: flags['plan-only'],
        unlock: flags.unlock ?? null,
        terminate: flags.terminate ?? null,
      },
      { ...ports, machines: await context.port('fleetMachines') },
    )
    return { recovery }
  }

  override render({ recovery: { findings } }: Result<this>) {
    return findings.map(findingLine).join('\n') || 'There is no difference between EC2, IAM, state, locks and records.'
  }

  protected override readonly direct = { what: '`fleet recover` uses', workflow: 'fleet-recover.yml' }
}
