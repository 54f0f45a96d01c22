import { boolean, integer, option, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderDeploys, renderDeploysForChat, withoutSources } from '../../lib/cli/render/deploy/deploys.js'
import { readHistory } from '../../lib/ops/deploy/history.js'

export default class FleetHistory extends BaseCommand<typeof FleetHistory> {
  static override summary = 'Show the deploys, newest first: target, AMI, requester, outcome.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --limit 3 --chat',
    {
      description: 'Export them, one JSON document per line',
      command: '<%= config.bin %> <%= command.id %> --limit 5000 --format jsonl > deploys.jsonl',
    },
  ]
  static override flags = {
    limit: integer({ summary: 'How many at most.', default: 20, min: 1, max: 10_000 }),
    before: string({ summary: 'Show the page after an earlier one: `next` of its --json.', helpValue: 'CURSOR' }),
    format: option({
      options: ['table', 'jsonl'] as const,
      summary: 'jsonl: each deploy as one line of JSON.',
      default: 'table' as const,
      exclusive: ['chat'],
    })(),
    chat: boolean({ summary: 'Print a short form for a chat message.' }),
  }

  async work() {
    const { limit, before } = this.flags
    return readHistory(await this.context.port('plane'), { limit, ...(before === undefined ? {} : { before }) })
  }

  override render({ deploys, sources }: Result<this>) {
    const now = new Date()
    const { format, chat } = this.flags
    if (format === 'jsonl')
      return deploys.length > 0 ? deploys.map((deploy) => JSON.stringify(deploy)).join('\n') : null
    const missing = withoutSources(sources)
    if (chat) return [renderDeploysForChat(deploys, now), ...missing].join('\n')
    return [renderDeploys(deploys, now, this.paint), ...missing].join('\n')
  }
}
