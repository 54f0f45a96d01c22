import { boolean } from '@oclif/core/flags'
import ms from 'ms'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { renderFleet, renderFleetForChat } from '../../lib/cli/render/deploy/fleet.js'
import type { Fleet } from '../../lib/domain/contract/index.js'
import { watchFleet } from '../../lib/ops/deploy/watchFleet.js'

const WATCH = '30m'
const HOME_AND_CLEAR = '\u001b[H\u001b[2J'

export default class FleetStatus extends BaseCommand {
  static override summary = 'Show what should run beside what runs: state, AMI, health of every instance.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --watch',
    {
      description: 'Ids of the hosts that are not on the latest AMI',
      command: `<%= config.bin %> <%= command.id %> --json | jq -r '.fleet.instances[] | select(.amiStatus=="stale").id'`,
    },
  ]
  static override flags = {
    chat: boolean({ summary: 'Print what fits a chat message.', exclusive: ['watch'] }),
    watch: boolean({ summary: 'Show it again until nothing is about to change.' }),
    timeout: durationFlag({ summary: 'How long to --watch.', default: WATCH }),
  }

  async run(): Promise<object> {
    const { flags } = await this.parse(FleetStatus)
    const context = this.context(flags)
    const plane = await context.plane()
    const clock = context.clock
    const show = (fleet: Fleet) => {
      const render = flags.chat ? renderFleetForChat(fleet, clock.now()) : renderFleet(fleet, clock.now(), this.paint)
      this.log(`${flags.watch && process.stdout.isTTY ? HOME_AND_CLEAR : ''}${render}`)
    }
    const fleet = flags.watch
      ? await watchFleet({ plane, clock, show }, flags.timeout ?? ms(WATCH))
      : await plane.fleet()
    if (!flags.watch) show(fleet)
    return { fleet }
  }
}
