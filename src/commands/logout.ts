import { BaseCommand, type Result } from '../lib/cli/baseCommand.js'

export default class Logout extends BaseCommand<typeof Logout> {
  static override summary = 'Remove the settings and the token that `clawctl login` saved on this machine.'
  static override examples = ['<%= config.bin %> <%= command.id %>']

  async work() {
    return { logout: await (await this.context.port('login')).logOut() }
  }

  override render({ logout }: Result<this>) {
    return logout.removed
      ? `Removed the saved settings from ${logout.folder}.`
      : `Nothing was saved in ${logout.folder}.`
  }
}
