import { boolean, integer } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderDeploys, renderDeploysForChat } from '../../lib/cli/render/deploy/deploys.js'

export default class FleetHistory extends BaseCommand<typeof FleetHistory> {
  static override summary = 'Show the deploys, newest first: what, which AMI, who asked, how it ended.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --limit 3 --chat',
  ]
  static override flags = {
    limit: integer({ summary: 'How many at most.', default: 20, min: 1, max: 100 }),
    chat: boolean({ summary: 'Print what fits a chat message.' }),
  }

  async work() {
    const plane = await this.context.port('plane')
    return { deploys: await plane.deploys(this.flags.limit) }
  }

  override render({ deploys }: Result<this>) {
    const now = new Date()
    return this.flags.chat ? renderDeploysForChat(deploys, now) : renderDeploys(deploys, now, this.paint)
  }
}
