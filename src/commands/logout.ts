import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'

export default class Logout extends BaseCommand<typeof Logout> {
  static override summary = 'Remove what `clawctl login` saved on this machine.'
  static override examples = ['<%= config.bin %> <%= command.id %>']

  async work() {
    return { logout: await (await this.context.port('login')).forget() }
  }

  override render({ logout }: Result<this>) {
    return logout.removed ? `Removed what was saved in ${logout.folder}.` : `Nothing was saved in ${logout.folder}.`
  }
}
