import { string as stringArg } from '@oclif/core/args'
import { integer, string } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { IMAGE_DIRECT, IMAGE_PORTS } from '../../lib/cli/ports.js'
import { reportImage } from '../../lib/ops/images/reportImage.js'

const seconds = (what: string, env: string) => integer({ summary: `How long ${what} took.`, env, min: 0 })

export default class ImageReport extends BaseCommand<typeof ImageReport> {
  static override summary = 'Compare the image that was built and imported with the previous one.'
  static override description =
    'Prints sizes, times, and the data that changed since the previous AMI if both have block manifests. Under GitHub Actions it writes the step summary.'
  static override examples = ['<%= config.bin %> <%= command.id %> ami-0123456789abcdef0']
  static override args = { ami: stringArg({ description: 'The new AMI. Default: none.' }) }
  static override flags = {
    out: string({ summary: 'Folder of image.json.', default: 'dist', helpValue: 'DIR' }),
    'build-seconds': seconds('the build', 'CLAWCTL_BUILD_SECONDS'),
    'import-seconds': seconds('upload and import', 'CLAWCTL_IMPORT_SECONDS'),
    'boot-seconds': seconds('the smoke boot', 'CLAWCTL_BOOT_SECONDS'),
    'sent-bytes': integer({ summary: 'Bytes that a direct import sent.', env: 'CLAWCTL_SENT_BYTES', min: 0 }),
  }

  async work() {
    const { args, flags } = this
    const ports = await this.context.pick(...IMAGE_PORTS)
    const { report, markdown } = await reportImage(
      {
        ami: args.ami || null,
        out: flags.out,
        sentBytes: flags['sent-bytes'] ?? null,
        seconds: {
          build: flags['build-seconds'] ?? null,
          import: flags['import-seconds'] ?? null,
          boot: flags['boot-seconds'] ?? null,
        },
      },
      ports,
    )
    this.log(markdown)
    return { report }
  }

  protected override readonly direct = IMAGE_DIRECT
}
