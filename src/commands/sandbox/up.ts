import { once } from 'node:events'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { asFlag, sandboxFlags } from '../../lib/cli/sandboxFlags.js'

export default class SandboxUp extends BaseCommand {
  static override summary = 'Keep a sandbox running in the foreground and print what other terminals need.'
  static override description =
    'Prints shell lines for `eval` (with --json a document). Ctrl-C ends it and removes everything.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --fault ec2:throttle=3 --as ci',
  ]
  static override flags = { as: asFlag, ...sandboxFlags }

  async run(): Promise<void> {
    const { flags } = await this.parse(SandboxUp)
    const { openSandbox } = await import('../../lib/sandbox/up.js')
    const { sandbox, env, exports } = await openSandbox(this.sandboxRequest(flags), flags.as)
    try {
      if (this.jsonEnabled()) this.logJson({ ok: true, sandbox: { controlApiUrl: sandbox.session.controlApiUrl, env } })
      else this.log(exports)
      this.logToStderr('The sandbox is up. In another terminal, eval the lines above; Ctrl-C ends it.')
      await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
    } finally {
      await sandbox.close()
    }
  }
}
