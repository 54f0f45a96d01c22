import { string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'
import { askSecret, askText, hasTerminal } from '../lib/cli/confirm.js'
import { logIn } from '../lib/ops/login.js'

export default class Login extends BaseCommand<typeof Login> {
  static override summary = 'Save the Control API, your control token and your name for this machine.'
  static override description =
    'Asks for what is not given, asks the Control API whether it takes the token, and only then writes ~/.config/clawctl: config.json, and control-token with mode 0600. Without a terminal the token is read from standard input. Options, variables and the files of a host win over what is saved, and the saved token goes to the saved URL alone.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'In a script',
      command: '<%= config.bin %> <%= command.id %> --control-api-url "$URL" --name "Jo" < control-token.txt',
    },
  ]
  static override flags = {
    name: string({
      summary: 'Your name, for deploys that you ask for.',
      helpValue: 'NAME',
      env: 'CLAWCTL_REQUESTED_BY',
    }),
  }

  async work() {
    const ports = await this.context.port('login')
    const { 'control-api-url': url, name } = this.flags
    const answers = {
      url: url ?? (await askText('URL of the Control API:', this.context.knownUrl())),
      token: await askSecret('Control token:'),
      requestedBy:
        name ?? (hasTerminal() ? await askText('Your name, for deploys:', this.context.savedName() ?? '') : ''),
    }
    return { login: await logIn(answers, ports) }
  }

  override render({ login }: Result<this>) {
    const { controlApiUrl, requestedBy, folder, instances } = login
    const who = requestedBy ? ` as ${requestedBy}` : ''
    return `Saved in ${folder}: ${controlApiUrl}${who}. It answers for ${instances} instances.`
  }
}
