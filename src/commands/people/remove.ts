import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { PEOPLE_DIRECT } from '../../lib/cli/ports.js'
import { removePerson } from '../../lib/ops/people/people.js'

export default class PeopleRemove extends BaseCommand<typeof PeopleRemove> {
  static override summary = 'Remove an enrolled person: their codes are no longer accepted.'
  static override examples = ['<%= config.bin %> <%= command.id %> "Jo" --mode ci']
  static override args = {
    name: stringArg({ description: 'As `people list` prints it.', required: true }),
  }

  async work() {
    return { person: await removePerson(this.args.name, await this.context.port('store')) }
  }

  override render({ person }: Result<this>) {
    const last =
      person.left === 0
        ? ' No person is enrolled now: a claimed name is enough for requests that only a person may make.'
        : ''
    return `${person.name} is removed.${last}`
  }

  protected override readonly direct = PEOPLE_DIRECT
}
