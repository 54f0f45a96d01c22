import { boolean, string } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { refuseTokenInJson } from '../../lib/cli/mintFlags.js'
import { mintToken } from '../../lib/ops/github/mintToken.js'

export default class GithubToken extends BaseCommand<typeof GithubToken> {
  static override summary =
    'Mint an installation token of the GitHub App, for clones and timers. It expires after an hour.'
  static override description =
    `The App is GITHUB_APP_ID and GITHUB_APP_INSTALLATION_ID; its private key is read from the file
GITHUB_APP_PRIVATE_KEY_FILE, else from GITHUB_APP_PRIVATE_KEY, and never from an option. No AWS is needed, in either mode.
The file gets GITHUB_TOKEN and GITHUB_TOKEN_EXPIRES_AT, in the format of systemd's EnvironmentFile, with mode 0640. It is replaced atomically.`
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
    stdout: boolean({ summary: 'Print only the token instead of writing a file.' }),
    repository: string({
      summary: "Restrict it to this repository; repeatable. Default: all of the installation's.",
      helpValue: 'NAME',
      multiple: true,
    }),
    permission: string({
      summary: 'Restrict it to this permission; repeatable. Default: all that the installation was granted.',
      helpValue: 'NAME=read|write',
      multiple: true,
    }),
    'app-id': string({ summary: 'The App. Default: GITHUB_APP_ID.', helpValue: 'ID' }),
    'installation-id': string({ summary: 'The installation. Default: GITHUB_APP_INSTALLATION_ID.', helpValue: 'ID' }),
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

  /** Kept apart from the result, which never holds the token. */
  #shown = ''
}
