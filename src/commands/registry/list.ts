import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { table } from '../../lib/cli/text.js'
import { readRegistry } from '../../lib/ops/registry/readRegistry.js'

export default class RegistryList extends BaseCommand {
  static override summary = 'List the instances that should exist, from nix/instances.json of this checkout.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<object> {
    const { flags } = await this.parse(RegistryList)
    const instances = await readRegistry(this.context(flags).registry)
    const rows = instances.map((e) => [e.id, e.host, e.instanceType, e.bootstrapPrefix, e.discordTokenSecret])
    this.log(table(['INSTANCE', 'HOST', 'TYPE', 'BOOTSTRAP PREFIX', 'DISCORD TOKEN SECRET'], rows))
    return { instances }
  }
}
