import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { loadSandbox } from '../../lib/cli/sandboxFlags.js'
import { table } from '../../lib/cli/text.js'

export default class SandboxStatus extends BaseCommand<typeof SandboxStatus> {
  static override summary = 'List your running sandboxes, and the one that this shell uses.'
  static override examples = ['<%= config.bin %> <%= command.id %>']

  async work() {
    const { listSandboxes, request } = await loadSandbox(this.config.root, this.context.root)
    return { sandboxes: await listSandboxes(request.env) }
  }

  override render({ sandboxes }: Result<this>) {
    if (sandboxes.length === 0) return 'No sandbox is running. `eval "$(clawctl sandbox up --detach)"` starts one.'
    const rows = sandboxes.map(({ folder, controlApiUrl, pid, requests, here }) => {
      return [here ? '*' : '', folder, controlApiUrl, String(pid), String(requests)]
    })
    return table(
      [
        '',
        'SANDBOX',
        { title: 'CONTROL API', narrow: 3 },
        { title: 'PID', narrow: 2 },
        { title: 'REQUESTS', narrow: 1 },
      ],
      rows,
    )
  }
}
