import { boolean, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { extraSecretFlag, identitiesDirFlag, identityFlag, secretsDirFlag } from '../../lib/cli/bundleFlags.js'
import { targetArgs } from '../../lib/cli/flags.js'
import { renderBundleUpload } from '../../lib/cli/render/bundles/bundles.js'
import { BUNDLE_WORKFLOW } from '../../lib/domain/paths.js'
import { uploadBundles } from '../../lib/ops/bundles/upload.js'

export default class BootstrapUpload extends BaseCommand<typeof BootstrapUpload> {
  static override summary = 'Make the bundle of an instance, or of all, and upload what changed.'
  static override description =
    'ci mode only. Secrets, repositories and identities are checked first: if one is invalid, nothing is uploaded. The manifest config.json is written last, and only if it has not changed meanwhile; until then hosts see the old bundle. Objects that exist already are not sent again.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-2 --secrets-dir nix-secrets',
    '<%= config.bin %> <%= command.id %> all --secrets-dir nix-secrets --dry-run',
    {
      description: "With the instances' identities, each as ID.key, encrypted by S3 with a KMS key",
      command:
        '<%= config.bin %> <%= command.id %> all --secrets-dir nix-secrets --identities-dir identities --kms-key "$KMS_KEY_ARN"',
    },
  ]
  static override args = targetArgs
  static override flags = {
    'secrets-dir': secretsDirFlag,
    identity: identityFlag,
    'identities-dir': identitiesDirFlag(
      "Directory of the instances' age identities, each a file ID.key. They are uploaded and used for a test decryption.",
    ),
    'kms-key': string({
      summary: 'Key that S3 encrypts identities with. Default: FLEET_KMS_KEY_ARN.',
      helpValue: 'ARN',
    }),
    repos: string({
      summary: 'List of repositories. Default: clawdinator/repos.tsv of the checkout.',
      helpValue: 'FILE',
      exclusive: ['repo-seeds-dir'],
    }),
    'repo-seeds-dir': string({
      summary: 'Directory of clones: each is packed at its checked-out commit.',
      helpValue: 'DIR',
    }),
    'extra-secret': extraSecretFlag,
    'dry-run': boolean({ summary: 'Check and pack everything, upload nothing.' }),
  }

  protected override readonly inJobSummary = true

  async work() {
    const { context, args, flags } = this
    const { bundles: store, ...ports } = await context.pick(
      'registry',
      'bundles',
      'secrets',
      'identities',
      'seeds',
      'clock',
      'progress',
    )
    const { kmsKey, revision } = context.uploadSettings()
    const request = {
      target: args.target,
      extra: flags['extra-secret'] ?? [],
      kmsKey: flags['kms-key'] ?? kmsKey,
      dryRun: flags['dry-run'],
      revision,
      by: context.userAgent,
    }
    return { upload: await uploadBundles(request, { ...ports, store }) }
  }

  override render({ upload }: Result<this>) {
    return renderBundleUpload(upload, this.paint)
  }

  protected override readonly direct = { what: '`bootstrap upload` uses', workflow: BUNDLE_WORKFLOW }
}
