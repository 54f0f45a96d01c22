import { string as stringArg } from '@oclif/core/args'
import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { WAIT } from '../../lib/cli/deployFlags.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { renderDeploy } from '../../lib/cli/render/deploy/deploys.js'
import { followRequest } from '../../lib/ops/deploy/followRequest.js'

export default class FleetFollow extends BaseCommand<typeof FleetFollow> {
  static override summary = 'Follow a deploy to its end, and exit by its outcome.'
  static override description =
    'Shows each step and each host when it ends, and what a queued deploy waits for. Exits like `fleet deploy --wait`: with 0 if the deploy succeeded, with 6 if a host was rolled back. Ctrl-C stops the following, not the deploy.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11',
    { description: 'By the id of its run on GitHub', command: '<%= config.bin %> <%= command.id %> 20000000001' },
    '<%= config.bin %> <%= command.id %> 7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11 --timeout 10m --json',
  ]
  static override args = {
    requestId: stringArg({
      description: 'The request id, as `fleet deploy` and `fleet history` print it, or the id of the run.',
      required: true,
    }),
  }
  static override flags = {
    timeout: durationFlag({ summary: 'How long to follow.', default: WAIT }),
  }

  async work() {
    const plane = await this.context.port('plane')
    return { deploy: await followRequest(this.args.requestId, this.flags.timeout ?? ms(WAIT), plane) }
  }

  override render({ deploy }: Result<this>) {
    return renderDeploy(deploy, this.paint)
  }
}
