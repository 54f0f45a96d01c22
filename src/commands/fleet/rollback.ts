import { string as stringArg } from '@oclif/core/args'
import ms from 'ms'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { deployFlags, WAIT } from '../../lib/cli/deployFlags.js'
import { renderDeploy } from '../../lib/cli/render/deploy/deploys.js'
import { orderOfFlags } from '../../lib/domain/contract/order.js'
import { requestDeploy } from '../../lib/ops/deploy/requestDeploy.js'
import { rollbackTarget } from '../../lib/ops/deploy/rollbackTarget.js'

export default class FleetRollback extends BaseCommand {
  static override summary = 'Deploy the AMI that an instance was healthy with before, or all of them.'
  static override description =
    'Takes the AMI from the records of the deploys, and deploys it as `fleet deploy --ami` does. A host boots the configuration that belongs to its image.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    '<%= config.bin %> <%= command.id %> all --requested-by "Jo" --wait',
  ]
  static override args = {
    target: stringArg({ description: '`all`, or an instance id; there is no default.', required: true }),
  }
  static override flags = {
    'requested-by': deployFlags['requested-by'],
    'request-id': deployFlags['request-id'],
    strategy: deployFlags.strategy,
    wait: deployFlags.wait,
    timeout: deployFlags.timeout,
    'plan-only': deployFlags['plan-only'],
  }

  async run(): Promise<object> {
    const { args, flags, raw } = await this.parse(FleetRollback)
    this.refuseEmptyFlags(raw)
    const context = this.context(flags)
    const plane = await context.plane()
    const ami = await rollbackTarget(args.target, plane)
    const order = orderOfFlags(
      args.target,
      { ...flags, ami },
      { caller: context.caller, requestId: context.newRequestId() },
    )
    const deploy = await requestDeploy(
      order,
      {
        ...{ planOnly: flags['plan-only'], onFailure: undefined, healthTimeoutMs: undefined },
        ...{ wait: flags.wait, waitTimeoutMs: flags.timeout ?? ms(WAIT) },
      },
      { mode: context.mode, registry: await context.localRegistry(), inRun: false, plane: async () => plane },
    )
    this.log(renderDeploy(deploy, this.paint))
    return { deploy }
  }
}
