import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderBuild } from '../../lib/cli/render/images/images.js'
import { type BuiltImage, buildImage, planBuild } from '../../lib/ops/images/buildImage.js'

export default class ImageBuild extends BaseCommand<typeof ImageBuild> {
  static override summary = 'Build a raw image with Nix, and describe it in dist/image.json.'
  static override description =
    'One image can boot as any host: the user data names the host. HOST only selects the platform of the image. Needs Nix and no AWS credentials. The image stays in the Nix store, linked as dist/result. Under GitHub Actions it sets the outputs sha256 and build_seconds.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> clawdinator-1 --out dist/arm',
    '<%= config.bin %> <%= command.id %> --dry-run',
  ]
  static override args = {
    host: stringArg({ description: 'A host of the registry, by id or host name, whose platform the image is for.' }),
  }
  static override flags = {
    out: string({ summary: 'Folder of image.json and of the link to the image.', default: 'dist', helpValue: 'DIR' }),
    system: string({
      summary: "Platform of the image. Default: that of HOST, else this machine's processor, with Linux.",
      options: ['x86_64-linux', 'aarch64-linux'],
    }),
    'dry-run': boolean({ summary: 'Print the command and run nothing.' }),
  }

  async work(): Promise<{ image: BuiltImage } | { dryRun: true; command: string[]; attribute: string }> {
    const { args, flags, context } = this
    const ports = await context.pick(
      'nix',
      'files',
      'digests',
      'registry',
      'output',
      'clock',
      'progress',
      'report',
      'stop',
    )
    const options = {
      host: args.host,
      system: flags.system,
      arch: process.arch,
      out: flags.out.replace(/(?<=.)\/+$/, ''),
    }
    if (!flags['dry-run']) return { image: await buildImage(options, { ...ports, flake: context.root }) }
    const { command, image } = await planBuild(options, { ...ports, flake: context.root })
    return { dryRun: true, command, attribute: image.attribute }
  }

  override render(result: Result<this>) {
    if ('image' in result) return renderBuild(result.image, this.paint)
    return result.command.map((word) => (/^[\w./:#@+-]+$/.test(word) ? word : `'${word}'`)).join(' ')
  }
}
