import { boolean, string } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { bundleTarget, identitiesDirFlag } from '../../lib/cli/bundleFlags.js'
import { renderVerify } from '../../lib/cli/render/bundles/bundles.js'
import { BUNDLE_WORKFLOW } from '../../lib/domain/paths.js'

export default class BootstrapVerify extends BaseCommand {
  static override summary = 'Read the bundle of an instance, or of all, back and verify that a host can boot with it.'
  static override description =
    "ci mode only. Reads every byte: manifest, sizes, digests, the required secrets, the age identity, the form of each age file, that the identity is the one that the secrets are encrypted for, and that no bundle holds another instance's secrets. Exits with 3 (BUNDLE_INCOMPLETE) and every problem where one does not verify."
  static override examples = [
    '<%= config.bin %> <%= command.id %> all',
    '<%= config.bin %> <%= command.id %> clawdinator-1 --json',
    {
      description: 'Decrypt the secrets and unpack the repositories, too',
      command: '<%= config.bin %> <%= command.id %> all --deep --identities-dir identities',
    },
  ]
  static override args = bundleTarget
  static override flags = {
    deep: boolean({
      summary:
        "Unpack the repositories, too, and decrypt the secrets, with the bundle's own identity where none is given.",
    }),
    identity: string({
      summary: 'Age identity to decrypt with, instead of those in the bundles.',
      helpValue: 'FILE',
      dependsOn: ['deep'],
    }),
    'identities-dir': {
      ...identitiesDirFlag("Directory of the instances' age identities, each a file ID.key."),
      dependsOn: ['deep'],
    },
  }

  async run(): Promise<object> {
    const { args, flags, raw } = await this.parse(BootstrapVerify)
    this.refuseEmptyFlags(raw)
    const context = this.context(flags)
    context.requireCi('`bootstrap verify` uses', BUNDLE_WORKFLOW)
    const verified = await (await context.bundles(flags)).verify(args.target)
    this.log(renderVerify(verified.bundles, new Date(), this.paint))
    return verified
  }
}
