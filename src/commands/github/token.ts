import { boolean, string } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { refuseTokenInJson } from '../../lib/cli/mintFlags.js'
import { mintToken } from '../../lib/ops/github/mintToken.js'

export default class GithubToken extends BaseCommand<typeof GithubToken> {
  static override summary = 'Mint an installation token of the GitHub App, for clones and timers; it lives an hour.'
  static override description =
    `The App is GITHUB_APP_ID and GITHUB_APP_INSTALLATION_ID; its private key is read from the file
GITHUB_APP_PRIVATE_KEY_FILE, else from GITHUB_APP_PRIVATE_KEY, and never from an option. No AWS is needed, in either mode.
The file gets GITHUB_TOKEN and GITHUB_TOKEN_EXPIRES_AT, as systemd's EnvironmentFile reads them, with mode 0640, at once.`
  static override examples = [
    '<%= config.bin %> <%= command.id %> --out /run/clawdinator/github.env --repository clawdinators --permission contents=read',
    {
      description: 'Clone with it in CI, where it is masked in the log:',
      command:
        'token=$(<%= config.bin %> <%= command.id %> --stdout --repository nix-secrets --permission contents=read)',
    },
  ]
  static override flags = {
    out: string({ summary: 'The file to write.', helpValue: 'FILE', exactlyOne: ['out', 'stdout'] }),
    stdout: boolean({ summary: 'Print the token, and nothing else, instead of writing a file.' }),
    repository: string({
      summary: "Restrict it to this repository; again for more. Default: all of the installation's.",
      helpValue: 'NAME',
      multiple: true,
    }),
    permission: string({
      summary: 'Restrict it to this permission; again for more. Default: all that the installation was granted.',
      helpValue: 'NAME=read|write',
      multiple: true,
    }),
    'app-id': string({ summary: 'Instead of GITHUB_APP_ID.', helpValue: 'ID' }),
    'installation-id': string({ summary: 'Instead of GITHUB_APP_INSTALLATION_ID.', helpValue: 'ID' }),
  }

  async work() {
    const { out, stdout } = this.flags
    refuseTokenInJson(stdout, this.jsonEnabled())
    const { token, expiresAt, permissions } = await mintToken(out ?? null, await this.context.port('mint'))
    this.#shown = stdout ? token : `${out} holds a token until ${expiresAt}.`
    return { out: out ?? null, expiresAt, permissions }
  }

  override render() {
    return this.#shown
  }

  /** Beside the result, which never holds the token. */
  #shown = ''
}
