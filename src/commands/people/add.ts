import { string as stringArg } from '@oclif/core/args'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { PEOPLE_DIRECT } from '../../lib/cli/ports.js'
import { ClawctlError } from '../../lib/domain/errors.js'
import { addPerson } from '../../lib/ops/people/people.js'
import { readRegistry } from '../../lib/ops/registry/readRegistry.js'

export default class PeopleAdd extends BaseCommand<typeof PeopleAdd> {
  static override summary = 'Enrol a maintainer, so that one-time codes verify who sends a request.'
  static override description =
    "Shows a QR code and its otpauth URI once, for a phone's authenticator, which works without a network. From then on `all`, `--retire`, `--ami`, `--strategy`, freeze and unfreeze need a code: --requested-by NAME --code 123456."
  static override examples = ['<%= config.bin %> <%= command.id %> "Jo" --mode ci']
  static override args = {
    name: stringArg({ description: 'The name that the person has in chats.', required: true }),
  }

  #shown = ''

  async work() {
    if (this.jsonEnabled() || process.env.GITHUB_ACTIONS === 'true') {
      throw new ClawctlError('USAGE', 'The secret is never shown in JSON or in the log of a run.', {
        hint: 'Run the command on your own machine, without --json.',
      })
    }
    const { qrCode, registry, ...people } = await this.context.pick('store', 'clock', 'codes', 'qrCode', 'registry')
    const ports = { ...people, registry: await readRegistry(registry) }
    const { name, uri } = await addPerson(this.args.name.trim(), ports)
    this.#shown = `${await qrCode(uri)}\n\n${uri}\n`
    return { person: { name } }
  }

  override render({ person }: Result<this>) {
    return `${this.#shown}\nScan it with an authenticator now: it is not shown again. ${person.name} is enrolled.`
  }

  protected override readonly direct = PEOPLE_DIRECT
}
