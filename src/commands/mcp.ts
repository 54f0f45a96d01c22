import { BaseCommand } from '../lib/cli/baseCommand.js'
import type { ToolWork } from '../lib/cli/mcp.js'
import { ClawctlError } from '../lib/domain/errors.js'

export default class Mcp extends BaseCommand<typeof Mcp> {
  static override summary = 'Serve status, show, deploy, follow, history and preflight to an agent over MCP.'
  static override description =
    'Speaks the Model Context Protocol on standard input and output. The tools do the same as the commands in agent mode, with the same policy, codes and hints. An agent chooses no URL, token or mode.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: "In a client's configuration",
      command: `{ "mcpServers": { "clawctl": { "command": "clawctl", "args": ["mcp"] } } }  # <%= config.bin %> <%= command.id %>`,
    },
  ]

  async work(): Promise<undefined> {
    if (this.context.mode !== 'agent') {
      throw new ClawctlError('USAGE', '`clawctl mcp` works only in agent mode.', {
        hint: 'Unset CI and CLAWCTL_MODE, or pass --mode agent.',
      })
    }
    const { serveMcp } = await import('../lib/cli/mcpServer.js')
    await serveMcp(this.config.version, this.#tools(), await this.context.port('stop'))
  }

  /** Each call reads settings and checkout again, because a server lives as long as its client. */
  #tools(): ToolWork {
    const plane = () => this.newContext().port('plane')
    return {
      status: async () => ({ fleet: await (await plane()).fleet() }),
      show: async (id) => ({ host: await (await plane()).host(id) }),
      history: async (limit) => ({ deploys: await (await plane()).deploys(limit) }),
      async follow(requestId, timeoutMs) {
        const { followRequest } = await import('../lib/ops/deploy/followRequest.js')
        return { deploy: await followRequest(requestId, timeoutMs, await plane()) }
      },
      preflight: async () => {
        const { preflight } = await import('../lib/ops/preflight/preflight.js')
        return { preflight: await preflight(await this.newContext().port('flight')) }
      },
      deploy: (asked) => this.#deploy(asked),
    }
  }

  async #deploy(asked: Parameters<ToolWork['deploy']>[0]) {
    const { requestDeploy } = await import('../lib/ops/deploy/requestDeploy.js')
    const context = this.newContext()
    const { caller } = context
    const requestedBy = asked.requestedBy ?? context.savedName()
    const { code, ...fields } = asked
    const order = {
      ...fields,
      ...(requestedBy ? { requestedBy } : {}),
      ...(caller ? { caller } : {}),
      requestId: asked.requestId ?? crypto.randomUUID(),
    }
    const options = { code, planOnly: false, wait: false, waitTimeoutMs: 0 }
    const deploy = await requestDeploy(order, options, {
      mode: 'agent',
      inRun: false,
      ...(await context.pick('progress')),
      registry: await context.port('localRegistry'),
      plane: () => context.port('plane'),
    })
    return { deploy }
  }
}
