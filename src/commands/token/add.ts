import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderTokenChange } from '../../lib/cli/render/tokens.js'
import { TOKEN_DIRECT, tokenArgs, tokenFlags } from '../../lib/cli/tokenFlags.js'
import { makeToken } from '../../lib/ops/tokens/tokens.js'

export default class TokenAdd extends BaseCommand<typeof TokenAdd> {
  static override summary = 'Give an instance its own control token, by which the Control API verifies it.'
  static override description =
    "Makes the token, encrypts it for the maintainers and the instance (clawdinator-control-token-ID.age of nix-secrets), and puts its SHA-256 into the Control API's secrets by one conditional write. The token itself is never shown. With --read it goes into a file, and only allows status, history, show and preflight."
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-3 --secrets-dir nix-secrets --mode ci',
    '<%= config.bin %> <%= command.id %> phone --read --to phone-token --mode ci',
  ]
  static override args = tokenArgs
  static override flags = tokenFlags

  async work() {
    const { context, args, flags } = this
    const ports = await context.pick('store', 'tokenPlace', 'newToken')
    return { token: await makeToken({ id: args.id, scope: flags.read ? 'read' : 'deploy', rotate: false }, ports) }
  }

  override render({ token }: Result<this>) {
    return renderTokenChange(token)
  }

  protected override readonly direct = TOKEN_DIRECT
}
