import { BaseCommand, type Result } from '../../../lib/cli/baseCommand.js'
import { maintainerFlag, secretsDirFlag } from '../../../lib/cli/bundleFlags.js'
import { targetArgs } from '../../../lib/cli/flags.js'
import { renderRekeyed } from '../../../lib/cli/render/bundles/secrets.js'
import { renewIdentities } from '../../../lib/ops/bundles/rekey.js'

export default class SecretsIdentityNew extends BaseCommand<typeof SecretsIdentityNew> {
  static override summary =
    'Create the age identity of an instance, or of all that have none, and encrypt its secrets for it.'
  static override description =
    "Works offline in a checkout of nix-secrets. Writes identities/ID.age (the identity, encrypted for the maintainers of recipients/maintainers.txt) and recipients/ID.txt (its public key). Encrypts every secret that the instance needs again, for the maintainers and for each instance that needs it. If one secret can't be decrypted, nothing is written. Commit the files; `bootstrap upload` then puts the identity into the bundle."
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-3 --secrets-dir nix-secrets --identity ~/.config/age/keys.txt',
    '<%= config.bin %> <%= command.id %> all --secrets-dir nix-secrets --identity ~/.config/age/keys.txt',
  ]
  static override args = targetArgs
  static override flags = { 'secrets-dir': secretsDirFlag, identity: maintainerFlag }

  async work() {
    const ports = await this.context.pick('registry', 'secrets', 'identities', 'keys')
    return renewIdentities({ target: this.args.target, rotate: false }, ports)
  }

  override render(rekeyed: Result<this>) {
    return renderRekeyed(rekeyed)
  }
}
