import { string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { askerFlags, askerOfFlags } from '../../lib/cli/deployFlags.js'
import { durationFlag, targetArgs } from '../../lib/cli/flags.js'
import { renderFreezes } from '../../lib/cli/render/deploy/fleet.js'

export default class FleetFreeze extends BaseCommand<typeof FleetFreeze> {
  static override summary = 'Refuse deploys of an instance, or of all, until the freeze ends.'
  static override description =
    'The Control API and CI then refuse deploys of the target (FROZEN), and `fleet status` shows who froze it, why and until when. A running deploy goes on: `fleet cancel` stops it. Only a person may freeze.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> all --reason "Discord is down" --for 2h --requested-by "Jo" --code 123456',
    '<%= config.bin %> <%= command.id %> clawdinator-2 --reason "under investigation" --requested-by "Jo" --code 123456',
  ]
  static override args = targetArgs
  static override flags = {
    reason: string({ summary: 'Why, in one line. Refused deploys show it.', required: true, helpValue: 'TEXT' }),
    for: durationFlag({ summary: 'How long.', default: 'until `fleet unfreeze`', shortest: '1m', longest: '30d' }),
    ...askerFlags,
  }

  async work() {
    const { context, args, flags } = this
    const plane = await context.port('plane')
    const ms = flags.for
    return {
      freezes: await plane.freeze({
        target: args.target,
        reason: flags.reason,
        ...(ms === undefined ? {} : { forSeconds: Math.round(ms / 1000) }),
        ...askerOfFlags(flags, context.caller),
      }),
    }
  }

  override render({ freezes }: Result<this>) {
    return renderFreezes(freezes)
  }
}
