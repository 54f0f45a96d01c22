import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { confirmOnTerminal, hasTerminal } from '../../lib/cli/confirm.js'
import { deployFlags, WAIT } from '../../lib/cli/deployFlags.js'
import { targetArgs } from '../../lib/cli/flags.js'
import { renderDeploy } from '../../lib/cli/render/deploy/deploys.js'
import { orderOfFlags } from '../../lib/domain/contract/order.js'
import { requestDeploy } from '../../lib/ops/deploy/requestDeploy.js'

export default class FleetDeploy extends BaseCommand<typeof FleetDeploy> {
  static override summary = 'Replace one instance, or all of them one after the other, with the latest AMI.'
  static override description =
    `In agent mode it sends the request to the Control API and returns when the deploy is queued; with --wait it follows the run and exits by its outcome. With the request id of a deploy that is over, it exits by that deploy's outcome. In ci mode it plans, guards and applies host by host, the canary first, waits until each is healthy, and stops at the first that is not.`
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2',
    '<%= config.bin %> <%= command.id %> all --requested-by "Jo" --code 123456 --wait',
    {
      description: 'Deploy an AMI that worked',
      command: '<%= config.bin %> <%= command.id %> clawdinator-2 --ami ami-0123456789abcdef0 --requested-by "Jo"',
    },
    {
      description: 'Destroy an instance that has left the registry',
      command: '<%= config.bin %> <%= command.id %> --retire clawdinator-3 --requested-by "Jo"',
    },
    { description: 'In CI, show what would be done', command: '<%= config.bin %> <%= command.id %> all --plan-only' },
  ]
  static override args = targetArgs
  static override flags = deployFlags

  async work() {
    const { context, args, flags } = this
    const { caller, mode, inRun, identity } = context
    const { localRegistry: registry, progress } = await context.pick('localRegistry', 'progress')
    const deploy = await requestDeploy(
      orderOfFlags(args.target, flags, { caller, identity, requestId: crypto.randomUUID() }),
      {
        planOnly: flags['plan-only'],
        onFailure: flags['on-failure'],
        code: flags.code,
        wait: flags.wait,
        waitTimeoutMs: flags.timeout ?? ms(WAIT),
        healthTimeoutMs: flags['health-timeout'],
      },
      {
        mode,
        inRun,
        registry,
        progress,
        plane: () => context.port('plane'),
        // Without a terminal, the policy requires a person's name instead.
        confirm: async (target) =>
          flags.yes || !hasTerminal() || confirmOnTerminal(`Destroy ${target} and everything on its disk?`),
      },
    )
    return { deploy }
  }

  override render({ deploy }: Result<this>) {
    return renderDeploy(deploy, this.paint)
  }
}
