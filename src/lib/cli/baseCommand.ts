import { Command } from '@oclif/core/command'
import { option, string } from '@oclif/core/flags'
import { ClawctlError } from '../domain/errors.js'
import { Context } from './context.js'
import { asFailure, printFailure } from './failure.js'
import { painter } from './text.js'

const GLOBAL = 'GLOBAL'

interface GlobalFlags {
  mode?: string | undefined
  'control-api-url'?: string | undefined
}

/**
 * What every command has: `--json`, `--mode`, one way to fail, and the context. A command's `run` parses, calls one op,
 * shows the result to people and returns it; under --json the returned value is the one document on stdout.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    mode: option({
      options: ['agent', 'ci'] as const,
      summary: 'Where this runs: `agent` asks the Control API, `ci` uses AWS and OpenTofu itself.',
      description: 'Default: CLAWCTL_MODE, else ci where GITHUB_ACTIONS or CI is true, else agent.',
      helpGroup: GLOBAL,
    })(),
    'control-api-url': string({
      summary: 'The Control API, instead of CLAWDINATOR_CONTROL_API_URL or /etc/clawdinator/control-api-url.',
      helpGroup: GLOBAL,
      helpValue: 'URL',
    }),
  }

  protected readonly paint = painter(process.stdout)

  protected context(flags: GlobalFlags): Context {
    return new Context({
      env: process.env,
      cwd: currentFolder(),
      version: this.config.version,
      mode: flags.mode,
      controlApiUrl: flags['control-api-url'],
      quiet: this.jsonEnabled(),
    })
  }

  /** `--ami "$AMI"` with an unset AMI must not pass for no --ami. Empty variables of the environment are unset ones. */
  protected refuseEmptyFlags(raw: readonly { type: string; flag?: string; input?: string }[]): void {
    const empty = raw.find((token) => token.type === 'flag' && token.input === '')
    if (!empty) return
    throw new ClawctlError('USAGE', `--${empty.flag} is empty.`, {
      hint: `Give it a value, or leave --${empty.flag} out.`,
    })
  }

  override async catch(error: unknown): Promise<void> {
    const failure = asFailure(error, {
      id: this.id,
      flags: Object.keys({ ...this.ctor.baseFlags, ...this.ctor.flags }),
    })
    if (failure.partial?.deploy && !this.jsonEnabled()) await this.#showHosts(failure.partial.deploy)
    printFailure(failure, this.jsonEnabled())
  }

  /** A deploy that failed has hosts to tell of, too. */
  async #showHosts(partial: unknown): Promise<void> {
    const [{ deploySchema }, { renderDeploy }] = await Promise.all([
      import('../domain/contract/deploy.js'),
      import('./render/deploy/deploys.js'),
    ])
    const deploy = deploySchema.safeParse(partial)
    if (deploy.success) this.log(renderDeploy(deploy.data, this.paint))
  }

  override logJson(document: unknown): void {
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
  }

  protected override toSuccessJson(result: object): object {
    return { ok: true, ...result }
  }
}

/** @throws ClawctlError USAGE where the folder was deleted under us */
function currentFolder(): string {
  try {
    return process.cwd()
  } catch {
    throw new ClawctlError('USAGE', 'The current folder does not exist any more.', { hint: 'Change to one that does.' })
  }
}
