import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { askerFlags, askerOfFlags } from '../../lib/cli/deployFlags.js'
import { targetArgs } from '../../lib/cli/flags.js'
import { renderFreezes } from '../../lib/cli/render/deploy/fleet.js'

export default class FleetUnfreeze extends BaseCommand<typeof FleetUnfreeze> {
  static override summary = 'End the freeze of an instance, or of all.'
  static override description =
    'Ends the freeze of exactly this target: with an instance, a freeze of `all` stays. Only a person may end a freeze.'
  static override examples = ['<%= config.bin %> <%= command.id %> all --requested-by "Jo" --code 123456']
  static override args = targetArgs
  static override flags = askerFlags

  async work() {
    const { context, args, flags } = this
    const plane = await context.port('plane')
    return { freezes: await plane.unfreeze({ target: args.target, ...askerOfFlags(flags, context.caller) }) }
  }

  override render({ freezes }: Result<this>) {
    const { target } = this.args
    const ended = `${target === 'all' ? 'The fleet as a whole' : target} is no longer frozen.`
    return [ended, renderFreezes(freezes)].filter(Boolean).join('\n')
  }
}
