import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderTokenChange } from '../../lib/cli/render/tokens.js'
import { readFlag, TOKEN_DIRECT, tokenArgs } from '../../lib/cli/tokenFlags.js'
import { removeToken } from '../../lib/ops/tokens/tokens.js'

export default class TokenRemove extends BaseCommand<typeof TokenRemove> {
  static override summary = 'Stop accepting the tokens of an instance, or a read token.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-3 --mode ci',
    '<%= config.bin %> <%= command.id %> phone --read --mode ci',
  ]
  static override args = tokenArgs
  static override flags = readFlag

  async work() {
    const { context, args, flags } = this
    return { token: await removeToken(args.id, flags.read ? 'read' : 'deploy', await context.port('store')) }
  }

  override render({ token }: Result<this>) {
    return renderTokenChange(token)
  }

  protected override readonly direct = TOKEN_DIRECT
}
