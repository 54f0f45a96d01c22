import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { VALUE_KINDS, type ValueKind } from '../../lib/cli/completion.js'
import { FAULT_NAMES } from '../../lib/domain/sandboxOptions.js'

/** A completion must be quick. */
const PATIENCE_MS = 10_000
/** The number of deploys whose AMIs and ids are offered. */
const RECENT = 20

export default class CompletionValues extends BaseCommand<typeof CompletionValues> {
  static override hidden = true
  static override summary = 'Print the possible values of one argument, one per line.'
  static override examples = ['<%= config.bin %> <%= command.id %> amis']
  static override args = {
    kind: stringArg({ description: 'Of what.', options: [...VALUE_KINDS], required: true }),
  }

  async work() {
    const late = setTimeout(() => process.exit(), PATIENCE_MS)
    const values = await this.#values(this.args.kind as ValueKind).finally(() => clearTimeout(late))
    return { values: [...new Set(values)] }
  }

  override render({ values }: Result<this>) {
    return values.length > 0 ? values.join('\n') : null
  }

  async #values(kind: ValueKind): Promise<string[]> {
    switch (kind) {
      case 'targets':
        return ['all', ...(await this.#ids())]
      case 'ids':
        return this.#ids()
      case 'roles':
        return ['laptop', 'ci', ...(await this.#ids())]
      case 'faults':
        return FAULT_NAMES
      case 'amis': {
        const plane = await this.context.port('plane')
        const [fleet, deploys] = await Promise.all([plane.fleet(), plane.deploys(RECENT)])
        const amis = [fleet.latestAmi?.id, ...fleet.instances.map(({ ami }) => ami), ...deploys.map(({ ami }) => ami)]
        return amis.flatMap((ami) => ami ?? [])
      }
      case 'requests': {
        const deploys = await (await this.context.port('plane')).deploys(RECENT)
        return deploys.map(({ requestId }) => requestId)
      }
    }
  }

  async #ids(): Promise<string[]> {
    const registry = await this.context.port('localRegistry')
    const entries = registry ?? (await (await this.context.port('plane')).fleet()).instances
    return entries.map(({ id }) => id)
  }
}
