import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { askerFlags, deployFlags, WAIT } from '../../lib/cli/deployFlags.js'
import { targetArgs } from '../../lib/cli/flags.js'
import { renderDeploy } from '../../lib/cli/render/deploy/deploys.js'
import { orderOfFlags } from '../../lib/domain/contract/order.js'
import { requestDeploy } from '../../lib/ops/deploy/requestDeploy.js'
import { rollbackTarget } from '../../lib/ops/deploy/rollbackTarget.js'

export default class FleetRollback extends BaseCommand<typeof FleetRollback> {
  static override summary = 'Deploy the AMI with which an instance, or all of them, was healthy before.'
  static override description =
    'Finds the AMI in the records of the deploys, and deploys it like `fleet deploy --ami`. A host boots the configuration of its image.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2 --requested-by "Jo"',
    '<%= config.bin %> <%= command.id %> all --requested-by "Jo" --wait',
  ]
  static override args = targetArgs
  static override flags = {
    ...askerFlags,
    'request-id': deployFlags['request-id'],
    strategy: deployFlags.strategy,
    wait: deployFlags.wait,
    timeout: deployFlags.timeout,
    'plan-only': deployFlags['plan-only'],
  }

  async work() {
    const { context, args, flags } = this
    const { caller, mode } = context
    const plane = await context.port('plane')
    const { localRegistry: registry, progress } = await context.pick('localRegistry', 'progress')
    const ami = await rollbackTarget(args.target, plane)
    const deploy = await requestDeploy(
      orderOfFlags(args.target, { ...flags, ami }, { caller, requestId: crypto.randomUUID() }),
      {
        planOnly: flags['plan-only'],
        code: flags.code,
        wait: flags.wait,
        waitTimeoutMs: flags.timeout ?? ms(WAIT),
      },
      { mode, inRun: false, registry, progress, plane: async () => plane },
    )
    return { deploy }
  }

  override render({ deploy }: Result<this>) {
    return renderDeploy(deploy, this.paint)
  }
}
