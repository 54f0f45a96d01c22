import { BaseCommand, type Result } from '../../../lib/cli/baseCommand.js'
import { renderControlSecrets } from '../../../lib/cli/render/controlSecrets.js'
import { ClawctlError } from '../../../lib/domain/errors.js'
import { checkControlSecrets } from '../../../lib/ops/secrets/controlSecrets.js'

export default class SecretsControlApiCheck extends BaseCommand<typeof SecretsControlApiCheck> {
  static override summary = "Check the Control API's secrets in the bucket, by names and digests."
  static override description =
    'Reads the object like the Control API, and reports why it would not be accepted. Needs the credentials of a maintainer: no role of CI may read the object. Exits with 2 (INVALID_SECRETS) if there is a problem.'
  static override examples = ['<%= config.bin %> <%= command.id %> --mode ci']
  protected override readonly direct = { what: '`secrets control-api check` uses' }

  async work() {
    const { store, secretText } = await this.context.pick('store', 'secretText')
    return { secrets: await checkControlSecrets({ store, digest: secretText.digest }) }
  }

  override render({ secrets }: Result<this>) {
    return renderControlSecrets(secrets)
  }

  override verdict({ secrets }: Result<this>) {
    if (secrets.problems.length === 0) return
    throw new ClawctlError(
      'INVALID_SECRETS',
      'The Control API does not accept this object, and keeps using the last good one.',
      {
        details: secrets.problems.map((problem) => `${problem}.`),
        hint: 'Correct it with `clawctl secrets control-api edit`.',
        partial: { secrets },
      },
    )
  }
}
