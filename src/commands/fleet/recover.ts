import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { findingLine } from '../../lib/domain/deploy/recovery.js'
import { recoverFleet } from '../../lib/ops/deploy/recoverFleet.js'

export default class FleetRecover extends BaseCommand<typeof FleetRecover> {
  static override summary = 'Mend what a deploy that was killed left behind.'
  static override description =
    'ci mode only. Compares EC2, IAM, the OpenTofu state, its locks and the records of deploys, shows what they disagree about, and mends it under the plan guard: it releases the lock of a run that is over, stores a state that could not be stored, imports what exists, starts a machine that has the role and was stopped, destroys what was never handed to. It exits 3 (DRIFT) where something is left that a person has to decide.'
  static override examples = [
    { description: 'See what disagrees', command: '<%= config.bin %> <%= command.id %> --plan-only' },
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    {
      description: 'Release a lock whose holder is known to be dead',
      command: '<%= config.bin %> <%= command.id %> --unlock 681e4111-d9a2-2e55-47df-fe783bbe4a91',
    },
    {
      description: 'Of two machines that run as one instance, end the one named',
      command: '<%= config.bin %> <%= command.id %> clawdinator-2 --terminate i-0123456789abcdef0',
    },
  ]
  static override args = {
    id: stringArg({ description: 'An instance id; without one, the whole fleet.' }),
  }
  static override flags = {
    'plan-only': boolean({ summary: 'Show it, change nothing.', env: 'CLAWCTL_PLAN_ONLY' }),
    unlock: string({
      summary: 'Release the lock of the state with this id, whoever holds it.',
      helpValue: 'LOCK_ID',
      env: 'CLAWCTL_UNLOCK',
    }),
    terminate: string({
      summary: 'Destroy this machine of the fleet, whatever is known of it.',
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
    return findings.map(findingLine).join('\n') || 'EC2, IAM, state, locks and records agree.'
  }

  protected override readonly direct = { what: '`fleet recover` uses', workflow: 'fleet-recover.yml' }
}
