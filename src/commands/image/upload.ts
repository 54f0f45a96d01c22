import { string as stringArg } from '@oclif/core/args'
import { boolean, integer } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { IMAGE_DIRECT, IMAGE_PORTS } from '../../lib/cli/ports.js'
import { renderImageUpload } from '../../lib/cli/render/images/images.js'
import { imageNameOf } from '../../lib/domain/images/names.js'
import { abortUploads, type UploadedImage, uploadImage } from '../../lib/ops/images/uploadImage.js'

export default class ImageUpload extends BaseCommand<typeof ImageUpload> {
  static override summary = 'Upload an image to the bucket under a name with its digest, and print its key.'
  static override description =
    `Takes raw, VHD and stream-optimized VMDK images, detected by content. A finished upload and the parts of an interrupted one are not sent again. Under GitHub Actions it sets the outputs key and digest.`
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> result/nixos.raw',
    {
      description: 'Drop the parts that interrupted uploads left in the bucket',
      command: '<%= config.bin %> <%= command.id %> --abort',
    },
  ]
  static override args = {
    file: stringArg({ description: 'The image. Default: the one that dist/image.json describes.' }),
  }
  static override flags = {
    abort: boolean({
      summary: 'Send nothing; drop the unfinished uploads of FILE, or without FILE all below images/.',
    }),
    force: boolean({ summary: 'Upload the file even if it does not look bootable.' }),
    concurrency: integer({ summary: 'Parts sent concurrently. Default: 16.', min: 1, max: 256 }),
  }

  async work(): Promise<{ upload: UploadedImage } | { aborted: { key: string }[] }> {
    const { args, flags } = this
    const ports = await this.context.pick(...IMAGE_PORTS)
    if (!flags.abort)
      return {
        upload: await uploadImage({ file: args.file, concurrency: flags.concurrency, force: flags.force }, ports),
      }
    return { aborted: await abortUploads(args.file ? imageNameOf(args.file.replace(/^.*\//, '')) : null, ports) }
  }

  override render(result: Result<this>) {
    if ('upload' in result) return renderImageUpload(result.upload, this.paint)
    return result.aborted.map(({ key }) => `aborted ${key}`).join('\n') || 'There is no unfinished upload.'
  }

  protected override readonly direct = IMAGE_DIRECT
}
