import { boolean } from '@oclif/core/flags'
import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { renderFleet, renderFleetForChat } from '../../lib/cli/render/deploy/fleet.js'
import type { Fleet } from '../../lib/domain/contract/index.js'

const WATCH = '30m'
const HOME_AND_CLEAR = '\u001b[H\u001b[2J'

export default class FleetStatus extends BaseCommand<typeof FleetStatus> {
  static override summary = 'Show every instance: state, AMI, health, and what is missing, orphaned or unmanaged.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --watch',
    {
      description: 'Ids of the hosts that are not on the latest AMI',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.fleet.instances[] | select(.amiStatus=="stale").id'`,
    },
  ]
  static override flags = {
    chat: boolean({ summary: 'Print a short form for a chat message.', exclusive: ['watch'] }),
    watch: boolean({
      summary: 'Show every change until no instance is in transition and no deploy is queued or running.',
    }),
    timeout: durationFlag({ summary: 'How long to --watch.', default: WATCH }),
    web: boolean({ summary: "Open the Control API's page in the browser.", exclusive: ['chat', 'watch'] }),
  }

  async work(): Promise<{ fleet: Fleet } | { url: string; opened: boolean }> {
    if (this.flags.web) {
      const url = this.context.controlApiUrl()
      return { url, opened: await (await this.context.port('browser')).open(url) }
    }
    const { plane, clock } = await this.context.pick('plane', 'clock')
    if (!this.flags.watch) return { fleet: await plane.fleet() }
    const { watchFleet } = await import('../../lib/ops/deploy/watchFleet.js')
    // `clawctl fleet status --watch | head` ends with its reader: it changes nothing.
    process.stdout.once('error', () => process.exit())
    const show = (fleet: Fleet) => {
      if (process.stdout.isTTY && !this.jsonEnabled()) process.stdout.write(HOME_AND_CLEAR)
      this.log(this.#text(fleet))
    }
    return { fleet: await watchFleet({ plane, clock, show }, this.flags.timeout ?? ms(WATCH)) }
  }

  override render(result: Result<this>) {
    if ('url' in result) return result.opened ? `Opened ${result.url}` : `Open ${result.url} in a browser.`
    return this.flags.watch ? null : this.#text(result.fleet)
  }

  #text(fleet: Fleet): string {
    return this.flags.chat ? renderFleetForChat(fleet, new Date()) : renderFleet(fleet, new Date(), this.paint)
  }
}
