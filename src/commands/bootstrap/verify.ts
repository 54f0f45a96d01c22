import { boolean, string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { identitiesDirFlag } from '../../lib/cli/bundleFlags.js'
import { targetArgs } from '../../lib/cli/flags.js'
import { renderVerify } from '../../lib/cli/render/bundles/bundles.js'
import { BUNDLE_WORKFLOW } from '../../lib/domain/paths.js'
import { verifyBundles } from '../../lib/ops/bundles/verify.js'

export default class BootstrapVerify extends BaseCommand<typeof BootstrapVerify> {
  static override summary = 'Verify that a host can boot with the bundle of an instance, or of all.'
  static override description =
    "ci mode only. Reads every byte: manifest, sizes, digests, the required secrets, the age identity, the format of each age file, that the secrets are encrypted for the bundle's identity, and that no bundle holds another instance's secrets. If a bundle fails, lists every problem and exits with 3 (BUNDLE_INCOMPLETE)."
  static override examples = [
    '<%= config.bin %> <%= command.id %> all',
    '<%= config.bin %> <%= command.id %> clawdinator-1 --json',
    {
      description: 'Also decrypt the secrets and unpack the repositories',
      command: '<%= config.bin %> <%= command.id %> all --deep --identities-dir identities',
    },
  ]
  static override args = targetArgs
  static override flags = {
    deep: boolean({
      summary: "Also unpack the repositories and decrypt the secrets. Default identity: the bundle's own.",
    }),
    identity: string({
      summary: 'Age identity to decrypt with. Default: those in the bundles.',
      helpValue: 'FILE',
      dependsOn: ['deep'],
    }),
    'identities-dir': {
      ...identitiesDirFlag("Directory of the instances' age identities, each a file ID.key."),
      dependsOn: ['deep'],
    },
  }

  protected override readonly inJobSummary = true

  async work() {
    const { bundles: store, ...ports } = await this.context.pick('registry', 'bundles', 'progress')
    const depth = this.flags.deep ? await this.#deep() : ({ kind: 'full' } as const)
    return verifyBundles({ target: this.args.target, depth }, { ...ports, store })
  }

  override render({ bundles }: Result<this>) {
    return renderVerify(bundles, new Date(), this.paint)
  }

  async #deep() {
    const { bundles: downloads, identities, inspector } = await this.context.pick('bundles', 'identities', 'inspector')
    const identityOf = async (id: string) => (await identities.of(id)) ?? identities.shared()
    return { kind: 'deep', identityOf, parse: identities.parse, downloads, inspector } as const
  }

  protected override readonly direct = { what: '`bootstrap verify` uses', workflow: BUNDLE_WORKFLOW }
}
