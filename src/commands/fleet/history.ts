import { boolean, integer } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { renderDeploys, renderDeploysForChat } from '../../lib/cli/render/deploy/deploys.js'

export default class FleetHistory extends BaseCommand {
  static override summary = 'Show the deploys, newest first: what, which AMI, who asked, how it ended.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --limit 3 --chat',
  ]
  static override flags = {
    limit: integer({ summary: 'How many at most.', default: 20, min: 1, max: 100 }),
    chat: boolean({ summary: 'Print what fits a chat message.' }),
  }

  async run(): Promise<object> {
    const { flags } = await this.parse(FleetHistory)
    const plane = await this.context(flags).plane()
    const deploys = await plane.deploys(flags.limit)
    this.log(flags.chat ? renderDeploysForChat(deploys, new Date()) : renderDeploys(deploys, new Date(), this.paint))
    return { deploys }
  }
}
