import { boolean } from '@oclif/core/flags'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderTokenChange } from '../../lib/cli/render/tokens.js'
import { TOKEN_DIRECT, tokenArgs, tokenFlags } from '../../lib/cli/tokenFlags.js'
import { endRotation, makeToken } from '../../lib/ops/tokens/tokens.js'

export default class TokenRotate extends BaseCommand<typeof TokenRotate> {
  static override summary = 'Replace the token of an instance: both are accepted until the rotation is ended.'
  static override description =
    'Run it first without --end: it makes a new token like `token add`, and the old one stays valid. When the instance has its new bundle, run it with --end: the old token is then no longer accepted.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> clawdinator-1 --secrets-dir nix-secrets --mode ci',
    '<%= config.bin %> <%= command.id %> clawdinator-1 --end --mode ci',
  ]
  static override args = tokenArgs
  static override flags = {
    ...tokenFlags,
    end: boolean({ summary: 'Accept the newest token only.', exclusive: ['to'] }),
  }

  async work() {
    const { context, args, flags } = this
    const store = await context.port('store')
    const scope = flags.read ? 'read' : 'deploy'
    if (flags.end) return { token: await endRotation(args.id, scope, store) }
    const ports = { store, ...(await context.pick('tokenPlace', 'newToken')) }
    return { token: await makeToken({ id: args.id, scope, rotate: true }, ports) }
  }

  override render({ token }: Result<this>) {
    return renderTokenChange(token)
  }

  protected override readonly direct = TOKEN_DIRECT
}
