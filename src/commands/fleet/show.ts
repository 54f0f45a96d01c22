import { string as stringArg } from '@oclif/core/args'
import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderHost, renderHostForChat } from '../../lib/cli/render/deploy/host.js'

export default class FleetShow extends BaseCommand<typeof FleetShow> {
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

  async work() {
    const plane = await this.context.port('plane')
    return { host: await plane.host(this.args.id) }
  }

  override render({ host }: Result<this>) {
    return this.flags.chat ? renderHostForChat(host, new Date()) : renderHost(host, new Date(), this.paint)
  }
}
