import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { PEOPLE_DIRECT } from '../../lib/cli/ports.js'
import { age, table } from '../../lib/cli/text.js'
import { listPeople } from '../../lib/ops/people/people.js'

export default class PeopleList extends BaseCommand<typeof PeopleList> {
  static override summary = 'List the enrolled people, and names that wrong codes have locked.'
  static override examples = ['<%= config.bin %> <%= command.id %> --mode ci']

  async work() {
    return { people: await listPeople(await this.context.pick('store', 'clock')) }
  }

  override render({ people }: Result<this>) {
    if (people.length === 0)
      return 'No person is enrolled: a claimed name is enough for requests that only a person may make.'
    const now = new Date()
    const rows = people.map(({ name, enrolledAt, lockedUntil }) => [name, age(enrolledAt, now), lockedUntil ?? '-'])
    return table(['NAME', 'ENROLLED', 'LOCKED UNTIL'], rows)
  }

  protected override readonly direct = PEOPLE_DIRECT
}
