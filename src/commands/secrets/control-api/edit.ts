import { string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../../lib/cli/baseCommand.js'
import { renderControlSecrets } from '../../../lib/cli/render/controlSecrets.js'
import { editControlSecrets } from '../../../lib/ops/secrets/controlSecrets.js'

export default class SecretsControlApiEdit extends BaseCommand<typeof SecretsControlApiEdit> {
  static override summary = "Change the Control API's secrets in the bucket."
  static override description =
    'Opens the object in VISUAL or EDITOR, or reads a whole new one from --file. It is written only if it is complete and was not changed meanwhile; the previous version is kept as control-api/secrets.previous.json. Prints names and digests, never a value. The Control API uses the new object within five minutes. Needs the credentials of a maintainer.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --mode ci',
    {
      description: 'Restore the previous version',
      command:
        'aws s3 cp s3://$S3_BUCKET/control-api/secrets.previous.json - | <%= config.bin %> <%= command.id %> --mode ci --file -',
    },
  ]
  static override flags = {
    file: string({ summary: 'File with the whole object as JSON; - is stdin.', helpValue: 'FILE' }),
  }
  protected override readonly direct = { what: '`secrets control-api edit` uses' }

  async work() {
    const { store, secretText } = await this.context.pick('store', 'secretText')
    const { file } = this.flags
    const next = (text: string) => (file === undefined ? secretText.edited(text) : secretText.fromFile(file))
    return { secrets: await editControlSecrets(next, { store, digest: secretText.digest }) }
  }

  override render({ secrets }: Result<this>) {
    return renderControlSecrets(secrets)
  }
}
