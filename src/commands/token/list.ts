import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { table } from '../../lib/cli/text.js'
import { TOKEN_DIRECT } from '../../lib/cli/tokenFlags.js'
import { readRegistry } from '../../lib/ops/registry/readRegistry.js'
import { listTokens } from '../../lib/ops/tokens/tokens.js'

export default class TokenList extends BaseCommand<typeof TokenList> {
  static override summary = 'Show who has a token of their own, by the first digits of its SHA-256.'
  static override examples = ['<%= config.bin %> <%= command.id %> --mode ci']

  async work() {
    const { store, registry } = await this.context.pick('store', 'registry')
    return { tokens: await listTokens({ store, registry: await readRegistry(registry) }) }
  }

  override render({ tokens }: Result<this>) {
    const rows = tokens.map(({ id, scope, digests }) => [
      id,
      scope,
      digests.join(', ') || 'none: uses the shared token',
    ])
    return table(['ID', 'SCOPE', 'TOKENS (SHA-256)'], rows)
  }

  protected override readonly direct = TOKEN_DIRECT
}
