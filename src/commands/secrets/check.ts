import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { extraSecretFlag, identitiesDirFlag, identityFlag, secretsDirFlag } from '../../lib/cli/bundleFlags.js'
import { renderSecrets } from '../../lib/cli/render/bundles/secrets.js'
import type { ClawctlError } from '../../lib/domain/errors.js'
import { checkSecrets } from '../../lib/ops/bundles/checkSecrets.js'

export default class SecretsCheck extends BaseCommand<typeof SecretsCheck> {
  static override summary = 'Check the secrets directory against what each instance needs.'
  static override description =
    'Works offline and prints names only, never content. Exits with 2 (INVALID_SECRETS) if an upload would be refused.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --secrets-dir nix-secrets',
    {
      description: 'Test-decrypt every secret with the identity of its instance',
      command: '<%= config.bin %> <%= command.id %> --secrets-dir nix-secrets --identities-dir identities',
    },
    '<%= config.bin %> <%= command.id %> --secrets-dir nix-secrets --json',
  ]
  static override flags = {
    'secrets-dir': secretsDirFlag,
    identity: identityFlag,
    'identities-dir': identitiesDirFlag("Directory of the instances' age identities, each a file ID.key."),
    'extra-secret': extraSecretFlag,
  }

  protected override readonly inJobSummary = true

  async work() {
    const ports = await this.context.pick('registry', 'secrets', 'identities')
    const { report, failure } = await checkSecrets(this.flags['extra-secret'] ?? [], ports)
    this.#failure = failure
    return { secrets: report }
  }

  override render({ secrets }: Result<this>) {
    return renderSecrets(secrets, this.paint)
  }

  override verdict() {
    if (this.#failure) throw this.#failure
  }

  #failure: ClawctlError | null = null
}
