import { string as stringArg } from '@oclif/core/args'
import { boolean } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { renderHost, renderHostForChat } from '../../lib/cli/render/deploy/host.js'

export default class FleetShow extends BaseCommand {
  static override summary = 'Show one instance: its machines, health and reason, boot, console, last deploys.'
  static override description =
    'Shows the machine that serves and, during a deploy, the one beside it. Of the last machine that did not pass it shows what was seen before it was removed.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    {
      description: 'Why the last deploy of it failed',
      command: `<%= config.bin %> <%= command.id %> clawdinator-2 --json | jq '.host.deploys[0].evidence'`,
    },
  ]
  static override args = {
    id: stringArg({ description: 'An instance id, as `clawctl registry list` prints it.', required: true }),
  }
  static override flags = { chat: boolean({ summary: 'Print what fits a chat message.' }) }

  async run(): Promise<object> {
    const { args, flags } = await this.parse(FleetShow)
    const context = this.context(flags)
    const host = await (await context.plane()).host(args.id)
    const now = context.clock.now()
    this.log(flags.chat ? renderHostForChat(host, now) : renderHost(host, now, this.paint))
    return { host }
  }
}
