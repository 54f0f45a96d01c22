import { string as stringArg } from '@oclif/core/args'
import { boolean, integer, string } from '@oclif/core/flags'
import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { IMAGE_DIRECT, IMAGE_PORTS } from '../../lib/cli/ports.js'
import { renderDirectImport, renderImport } from '../../lib/cli/render/images/images.js'
import { BLOCK_CONCURRENCY, type DirectImport, importDirect } from '../../lib/ops/images/importDirect.js'
import { IMPORT_TIMEOUT, type ImportedImage, importImage } from '../../lib/ops/images/importImage.js'

const DIRECT = ['direct']

export default class ImageImport extends BaseCommand<typeof ImageImport> {
  static override summary = 'Make an AMI from an image, tag it when it is available, and print its id.'
  static override description =
    `Without --direct, EC2's VM Import reads the uploaded object, which takes tens of minutes. With --direct, clawctl writes the blocks of a raw file into a snapshot through the EBS direct APIs, and only those that changed since the last image. Run again, it resumes the task, snapshot or AMI. Under GitHub Actions it sets the outputs ami_id, snapshot_id, import_seconds and, with --direct, digest and sent_bytes.`
  static override examples = [
    '<%= config.bin %> <%= command.id %> images/nixos-0123456789ab.raw',
    '<%= config.bin %> <%= command.id %> --direct result/nixos.raw',
    '<%= config.bin %> <%= command.id %> --direct --kms-key-id arn:aws:kms:eu-central-1:123456789012:key/…',
  ]
  static override args = {
    image: stringArg({
      description:
        'Key of an uploaded image; with --direct, a raw file. Default: the image that dist/image.json describes, else the newest in the bucket.',
    }),
  }
  static override flags = {
    direct: boolean({ summary: 'Write the blocks of a raw file into a snapshot, instead of VM Import.' }),
    'kms-key-id': string({
      summary: 'Encrypt the snapshot with this KMS key; --direct takes its ARN.',
      helpValue: 'ID',
    }),
    'role-name': string({ summary: 'Role that VM Import assumes. Default: vmimport.', exclusive: DIRECT }),
    timeout: durationFlag({ summary: 'How long to wait for VM Import.', default: IMPORT_TIMEOUT }),
    concurrency: integer({ summary: 'Blocks sent concurrently. Default: 32.', min: 1, max: 512, dependsOn: DIRECT }),
    force: boolean({ summary: "Import the image even if it does not look bootable on the registry's instance types." }),
    full: boolean({ summary: 'Send all blocks, even those that an earlier image has.', dependsOn: DIRECT }),
    'keep-partial': boolean({ summary: 'Keep the unfinished snapshot after a failure.', dependsOn: DIRECT }),
    'state-dir': string({
      summary: 'Folder of the journals that resume an import. Default: clawctl in XDG_STATE_HOME.',
      helpValue: 'DIR',
      dependsOn: DIRECT,
    }),
  }

  async work(): Promise<{ import: DirectImport | ImportedImage }> {
    const { args, context, flags } = this
    const { force, 'kms-key-id': kmsKey = null } = flags
    const ports = await context.pick(...IMAGE_PORTS)
    const registry = await context.port('localRegistry')
    if (flags.direct) {
      const { full, 'keep-partial': keepPartial, concurrency = BLOCK_CONCURRENCY } = flags
      const options = { file: args.image, concurrency, kmsKey, full, keepPartial, force, registry }
      return { import: await importDirect(options, ports) }
    }
    const { 'role-name': role = null, timeout: timeoutMs = ms(IMPORT_TIMEOUT) } = flags
    return { import: await importImage({ key: args.image, role, kmsKey, timeoutMs, force, registry }, ports) }
  }

  override render({ import: imported }: Result<this>) {
    return 'blocks' in imported ? renderDirectImport(imported, this.paint) : renderImport(imported, this.paint)
  }

  protected override readonly direct = IMAGE_DIRECT
}
