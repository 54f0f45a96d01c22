import { boolean } from '@oclif/core/flags'
import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { asFlag, loadSandbox, sandboxFlags } from '../../lib/cli/sandboxFlags.js'

const DETACHED_FOR = '12h'

export default class SandboxUp extends BaseCommand<typeof SandboxUp> {
  static override summary = 'Start a sandbox and print the variables that a shell needs to use it.'
  static override description =
    `Prints shell lines for the \`eval\` of bash and zsh (with --json a document). In the foreground Ctrl-C ends it; with --detach \`clawctl sandbox down\` or the time of --for ends it. Nothing is left behind.

In fish, and for one command: \`clawctl sandbox run -- fish\`.`
  static override examples = [
    'eval "$(<%= config.bin %> <%= command.id %> --detach)"',
    '<%= config.bin %> <%= command.id %> --fault ec2:throttle=3 --as ci',
  ]
  static override flags = {
    as: asFlag,
    ...sandboxFlags,
    detach: boolean({ char: 'd', summary: 'Return when it is up, and leave it running.' }),
    for: durationFlag({ summary: 'End by itself after this time, with --detach.', default: DETACHED_FOR }),
  }

  async work(): Promise<undefined> {
    const { flags } = this
    const { keepSandbox, detachSandbox, shellExports, request } = await loadSandbox(
      this.config.root,
      this.context.root,
      flags,
    )
    if (flags.detach) {
      const program = process.argv[1] ?? ''
      const rest = this.argv.filter((word) => !['--detach', '-d', '--json'].includes(word))
      const limit = flags.for === undefined ? ['--for', DETACHED_FOR] : []
      const opened = await detachSandbox(['sandbox', 'up', '--json', ...limit, ...rest], program, process.env)
      if (this.jsonEnabled()) this.logJson({ ok: true, sandbox: opened })
      else this.log(shellExports(opened))
      if (process.stdout.isTTY) this.logToStderr('For this shell: eval "$(clawctl sandbox up --detach)"')
      return
    }
    if (!this.jsonEnabled()) request.onNote = (note) => this.logToStderr(note)
    await keepSandbox(request, flags.as, flags.for ?? null, (opened) => {
      if (this.jsonEnabled()) this.logJson({ ok: true, sandbox: opened })
      else this.log(shellExports(opened))
      this.logToStderr('The sandbox is up. In another terminal, eval the lines above; Ctrl-C ends it.')
    })
  }
}
