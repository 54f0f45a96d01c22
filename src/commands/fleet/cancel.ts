import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { askerFlags, askerOfFlags } from '../../lib/cli/deployFlags.js'
import { renderDeploy } from '../../lib/cli/render/deploy/deploys.js'
import { isOver } from '../../lib/domain/deploy/run.js'

export default class FleetCancel extends BaseCommand<typeof FleetCancel> {
  static override summary = 'Cancel a queued deploy, or stop a running one before its next handover.'
  static override description =
    'A running deploy stops after its plan, before a handover (the candidate is destroyed), or before its next host. A host that was already handed over is finished first. The record names who cancelled. The command may be repeated.'
  static override examples = ['<%= config.bin %> <%= command.id %> 7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11']
  static override args = {
    requestId: stringArg({ description: 'The request id, as `fleet history` prints it.', required: true }),
  }
  static override flags = askerFlags

  async work() {
    const { context, args, flags } = this
    const plane = await context.port('plane')
    return { deploy: await plane.cancel(args.requestId, askerOfFlags(flags, context.caller)) }
  }

  override render({ deploy }: Result<this>) {
    const what = isOver(deploy)
      ? 'It was over already.'
      : deploy.status === 'queued'
        ? 'Cancelled: it does not start.'
        : 'Stop requested: it stops before its next handover, and finishes a host that was handed over.'
    return `${renderDeploy(deploy, this.paint)}\n${what}`
  }
}
