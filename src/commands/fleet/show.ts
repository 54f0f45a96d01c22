import { string as stringArg } from '@oclif/core/args'
import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderHost, renderHostForChat } from '../../lib/cli/render/deploy/host.js'

export default class FleetShow extends BaseCommand<typeof FleetShow> {
  static override summary = 'Show one instance: its machines, health and reason, boot, console, last deploys.'
  static override description =
    'Shows the active machine and, during a deploy, the candidate. For the last candidate that failed it shows the evidence from before its removal.'
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
  static override flags = { chat: boolean({ summary: 'Print a short form for a chat message.' }) }

  async work() {
    const plane = await this.context.port('plane')
    return { host: await plane.host(this.args.id) }
  }

  override render({ host }: Result<this>) {
    return this.flags.chat ? renderHostForChat(host, new Date()) : renderHost(host, new Date(), this.paint)
  }
}
