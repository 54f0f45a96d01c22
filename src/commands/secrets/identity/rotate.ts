import { BaseCommand, type Result } from '../../../lib/cli/baseCommand.js'
import { maintainerFlag, secretsDirFlag } from '../../../lib/cli/bundleFlags.js'
import { targetArgs } from '../../../lib/cli/flags.js'
import { renderRekeyed } from '../../../lib/cli/render/bundles/secrets.js'
import { renewIdentities } from '../../../lib/ops/bundles/rekey.js'

export default class SecretsIdentityRotate extends BaseCommand<typeof SecretsIdentityRotate> {
  static override summary = 'Replace the age identity of an instance, and encrypt its secrets only for the new one.'
  static override description =
    'Like `secrets identity new`, for an instance that has an identity. Afterwards the old identity cannot decrypt any of the files. The host keeps its identity and secrets until `bootstrap upload` replaces both together, in one bundle.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-1 --secrets-dir nix-secrets --identity ~/.config/age/keys.txt',
  ]
  static override args = targetArgs
  static override flags = { 'secrets-dir': secretsDirFlag, identity: maintainerFlag }

  async work() {
    const ports = await this.context.pick('registry', 'secrets', 'identities', 'keys')
    return renewIdentities({ target: this.args.target, rotate: true }, ports)
  }

  override render(rekeyed: Result<this>) {
    return renderRekeyed(rekeyed)
  }
}
