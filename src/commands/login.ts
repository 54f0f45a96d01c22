import { string } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'
import { askSecret, askText, hasTerminal } from '../lib/cli/confirm.js'
import { logIn } from '../lib/ops/login.js'

export default class Login extends BaseCommand<typeof Login> {
  static override summary = 'Save the Control API, your control token and your name for this machine.'
  static override description =
    'Asks for missing values, verifies the token with the Control API, and only then writes ~/.config/clawctl/config.json and the token: into the OS keychain (macOS Keychain, Windows Credential Manager, Secret Service on Linux), or, where there is none, into the file control-token with mode 0600. Without a terminal the token is read from standard input. Options, variables and the files of a host take precedence over saved settings. The saved token is only sent to the saved URL.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'In a script',
      command: '<%= config.bin %> <%= command.id %> --control-api-url "$URL" --name "Jo" < control-token.txt',
    },
  ]
  static override flags = {
    name: string({
      summary: 'Your name, for deploys that you request.',
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
    const { controlApiUrl, requestedBy, folder, tokenIn, keychainProblem, instances } = login
    const who = requestedBy ? ` as ${requestedBy}` : ''
    const why = keychainProblem ? `, because the OS keychain can't be used: ${keychainProblem}` : ''
    const where =
      tokenIn === 'keychain' ? 'The token is in the OS keychain.' : `The token is in ${folder}/control-token${why}.`
    return `Saved in ${folder}: ${controlApiUrl}${who}. Its fleet has ${instances} instances.\n${where}`
  }
}
