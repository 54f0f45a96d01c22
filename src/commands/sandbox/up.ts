import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { asFlag, loadSandbox, sandboxFlags } from '../../lib/cli/sandboxFlags.js'

export default class SandboxUp extends BaseCommand<typeof SandboxUp> {
  static override summary = 'Keep a sandbox running in the foreground and print what other terminals need.'
  static override description =
    'Prints shell lines for `eval`, or a document with --json. Ctrl-C ends the sandbox and removes everything.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --fault ec2:throttle=3 --as ci',
  ]
  static override flags = { as: asFlag, ...sandboxFlags }

  async work(): Promise<undefined> {
    const at = { packageRoot: this.config.root, checkout: this.context.root }
    const { keepSandbox, request } = await loadSandbox(this.flags, at)
    if (!this.jsonEnabled()) request.onNote = (note) => this.logToStderr(note)
    await keepSandbox(request, this.flags.as, ({ controlApiUrl, env, exports }) => {
      if (this.jsonEnabled()) this.logJson({ ok: true, sandbox: { controlApiUrl, env } })
      else this.log(exports)
      this.logToStderr('The sandbox is up. In another terminal, eval the lines above; Ctrl-C ends it.')
    })
  }
}
