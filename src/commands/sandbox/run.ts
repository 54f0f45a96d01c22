import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { asFlag, loadSandbox, sandboxFlags } from '../../lib/cli/sandboxFlags.js'
import { ClawctlError } from '../../lib/domain/errors.js'

export default class SandboxRun extends BaseCommand<typeof SandboxRun> {
  static override summary = 'Run one command inside the sandbox and exit with its code.'
  static override description =
    `Starts EC2, S3, GitHub and the Control API on loopback, runs the command with clawctl in PATH, and leaves nothing behind. Inside a running sandbox it joins that one.

What is simulated: the AWS and GitHub services and the hosts. What is real: the SDKs, the built Lambda handler, and the checkout's own workflow, which runs step by step.`
  static override examples = [
    '<%= config.bin %> <%= command.id %> -- clawctl fleet status',
    '<%= config.bin %> <%= command.id %> --as clawdinator-1 -- clawctl fleet deploy clawdinator-2 --wait',
    '<%= config.bin %> <%= command.id %> --as ci --fault host:unhealthy -- clawctl fleet deploy clawdinator-1',
    '<%= config.bin %> <%= command.id %> -- bash',
  ]
  static override strict = false
  static override usage = '<%= command.id %> [--as laptop|ci|INSTANCE] [--registry FILE] [--fault NAME]… -- COMMAND…'
  static override flags = { as: asFlag, ...sandboxFlags }

  /** Everything after `--` belongs to the command. oclif would remove words that equal an argument before it. */
  protected override async parseArgv() {
    const end = this.argv.indexOf('--')
    const after = end < 0 ? null : this.argv.slice(end + 1)
    const parsed = await this.parse(SandboxRun, end < 0 ? this.argv : this.argv.slice(0, end))
    this.#command = after ?? (parsed.argv as string[])
    return parsed
  }

  async work(): Promise<undefined> {
    const [program, ...args] = this.#command
    if (program === undefined) {
      throw new ClawctlError('USAGE', 'No command to run was given.', {
        hint: 'Write it after --: clawctl sandbox run -- clawctl fleet status',
      })
    }
    const { runInSandbox, request } = await loadSandbox(this.config.root, this.context.root, this.flags)
    process.exitCode = await runInSandbox(request, this.flags.as, [program, ...args])
  }

  #command: string[] = []
}
