import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderTokens } from '../../lib/cli/render/tokens.js'
import { TOKEN_DIRECT } from '../../lib/cli/tokenFlags.js'
import { readRegistry } from '../../lib/ops/registry/readRegistry.js'
import { listTokens } from '../../lib/ops/tokens/tokens.js'

export default class TokenList extends BaseCommand<typeof TokenList> {
  static override summary = 'List who has a token, with the first digits of its SHA-256.'
  static override examples = ['<%= config.bin %> <%= command.id %> --mode ci']

  async work() {
    const { store, registry } = await this.context.pick('store', 'registry')
    return { tokens: await listTokens({ store, registry: await readRegistry(registry) }) }
  }

  override render({ tokens }: Result<this>) {
    return renderTokens(tokens)
  }

  protected override readonly direct = TOKEN_DIRECT
}
