import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { IMAGE_DIRECT } from '../../lib/cli/ports.js'
import { renderSmoked } from '../../lib/cli/render/images/catalog.js'
import { smokeImage } from '../../lib/ops/images/smokeImage.js'

const TIMEOUT = '10m'

export default class ImageSmoke extends BaseCommand<typeof ImageSmoke> {
  static override summary = 'Boot an AMI once on an isolated machine and verify that it comes up.'
  static override description =
    'Uses the smallest machine of the architecture, without an instance profile, in a security group that allows no traffic. The boot succeeds when the status checks pass and the console shows the boot line of the base image. Machine and group are always removed; the next run removes what a killed run left.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> ami-0123456789abcdef0',
    '<%= config.bin %> <%= command.id %> ami-0123456789abcdef0 --subnet-id subnet-0123456789abcdef0 --timeout 15m',
  ]
  static override args = { ami: stringArg({ description: 'The AMI to boot.', required: true }) }
  static override flags = {
    'instance-type': string({
      summary: "Default: t3.micro or t4g.micro, by the image's architecture.",
      helpValue: 'TYPE',
    }),
    'subnet-id': string({
      summary: 'Subnet of the machine. Default: one of the default VPC.',
      helpValue: 'ID',
      env: 'FLEET_SUBNET_ID',
    }),
    withdraw: boolean({ summary: 'If it does not boot, tag it clawdinator=withdrawn, so that no deploy uses it.' }),
    timeout: durationFlag({ summary: 'How long it may take to boot.', default: TIMEOUT }),
  }

  protected override readonly inJobSummary = true

  async work() {
    const { smokeMachines: machines, ...ports } = await this.context.pick(
      'smokeMachines',
      'clock',
      'tidyClock',
      'progress',
      'report',
    )
    const { withdraw, timeout: timeoutMs = ms(TIMEOUT) } = this.flags
    const options = { type: this.flags['instance-type'], subnet: this.flags['subnet-id'] || null, withdraw, timeoutMs }
    return { smoke: await smokeImage({ ami: this.args.ami, ...options }, { ...ports, machines }) }
  }

  override render({ smoke }: Result<this>) {
    return renderSmoked(smoke)
  }

  protected override readonly direct = IMAGE_DIRECT
}
