import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { table } from '../../lib/cli/text.js'
import { readRegistry } from '../../lib/ops/registry/readRegistry.js'

export default class RegistryList extends BaseCommand<typeof RegistryList> {
  static override summary = 'List the instances that should exist, from nix/instances.json of this checkout.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async work() {
    return { instances: await readRegistry(await this.context.port('registry')) }
  }

  override render({ instances }: Result<this>) {
    const rows = instances.map((e) => [e.id, e.host, e.instanceType, e.bootstrapPrefix, e.discordTokenSecret])
    const facts = ['HOST', 'TYPE', 'BOOTSTRAP PREFIX', 'DISCORD TOKEN SECRET']
    return table(['INSTANCE', ...facts.map((title, at) => ({ title, narrow: 4 - at }))], rows)
  }
}
