import { stripVTControlCharacters } from 'node:util'
import { Command } from '@oclif/core/command'
import { option, string } from '@oclif/core/flags'
import type { ArgInput, FlagInput, InferredArgs, InferredFlags, ParserOutput } from '@oclif/core/interfaces'
import { ClawctlError } from '../domain/errors.js'
import { type Context, type ContextFlags, createContext } from './context.js'
import { asFailure, printFailure } from './failure.js'
import { painter, printable, printableJson } from './text.js'

const GLOBAL = 'GLOBAL'

interface Direct {
  what: string
  workflow?: string
  /** What to do in agent mode, instead of running the workflow. */
  instead?: string
}

export type Result<T extends { work(): unknown }> = Awaited<ReturnType<T['work']>>

/**
 * The template of every command: parse, refuse empty options, work, render. A command is its arguments, its options, one
 * op in `work` and one renderer in `render`. With --json, the result of `work` is the one document on stdout.
 */
export abstract class BaseCommand<C extends typeof Command> extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    mode: option({
      options: ['agent', 'ci'] as const,
      summary: '`agent` uses the Control API, `ci` uses AWS and OpenTofu directly.',
      description: 'Default: CLAWCTL_MODE, else ci if GITHUB_ACTIONS or CI is true, else agent.',
      helpGroup: GLOBAL,
    })(),
    'control-api-url': string({
      summary: 'URL of the Control API. Default: CLAWDINATOR_CONTROL_API_URL, else /etc/clawdinator/control-api-url.',
      helpGroup: GLOBAL,
      helpValue: 'URL',
    }),
  }

  protected readonly paint = painter(process.stdout)
  protected args!: InferredArgs<C['args']>
  protected flags!: InferredFlags<(typeof BaseCommand)['baseFlags'] & C['flags']>
  protected context!: Context
  /** For commands that use AWS directly: how the refusal begins, and what to use instead. */
  protected readonly direct: Direct | undefined

  /** For commands that run in workflows: the output for people is also the step summary. */
  protected readonly inJobSummary: boolean = false

  abstract work(): Promise<object | undefined>

  /** The text for people; null prints nothing. */
  render(_result: object | undefined): string | null {
    return null
  }

  /** Throws after printing, if the result makes the command fail. */
  verdict(_result: object | undefined): void {}

  protected parseArgv(): Promise<ParserOutput<FlagInput, FlagInput, ArgInput>> {
    return this.parse(this.ctor)
  }

  async run(): Promise<object | undefined> {
    const { args, flags, raw } = await this.parseArgv()
    refuseEmptyFlags(raw)
    this.args = args as typeof this.args
    this.flags = flags as typeof this.flags
    this.context = this.newContext()
    this.#fillIn()
    if (this.direct && this.context.mode !== 'ci') throw onlyInCi(this.direct)
    const result = await this.work()
    const text = this.render(result)
    if (text !== null) this.log(text)
    if (text !== null && this.inJobSummary) await this.#summarise(text)
    this.verdict(result)
    return result
  }

  protected newContext(): Context {
    return createContext({
      env: process.env,
      cwd: currentFolder(),
      version: this.config.version,
      flags: this.flags as ContextFlags,
      quiet: this.jsonEnabled(),
    })
  }

  /** The saved name is the default of --requested-by. */
  #fillIn(): void {
    if (!('requested-by' in { ...this.ctor.flags })) return
    const flags = this.flags as { 'requested-by'?: string | undefined }
    const name = flags['requested-by'] ?? this.context.savedName()
    if (name !== undefined) flags['requested-by'] = name
  }

  override async catch(error: unknown): Promise<void> {
    const failure = asFailure(error, {
      id: this.id,
      flags: Object.keys({ ...this.ctor.baseFlags, ...this.ctor.flags }),
    })
    if (failure.partial?.deploy && !this.jsonEnabled()) await this.#showHosts(failure.partial.deploy)
    printFailure(failure, this.jsonEnabled())
    if (!this.inJobSummary || !this.context) return
    const lines = [`Error (${failure.code}): ${failure.message}`, ...failure.details, failure.hint ?? '']
    // The failure itself is shown already.
    await this.#summarise(lines.filter(Boolean).join('\n')).catch(() => {})
  }

  /** In a code block, so that names in it become neither Markdown nor mentions. */
  async #summarise(text: string): Promise<void> {
    const report = await this.context.port('report')
    const plain = printable(stripVTControlCharacters(text)).replaceAll('````', "'")
    await report.summary(`### clawctl ${this.id?.replaceAll(':', ' ')}\n\n\`\`\`\`text\n${plain}\n\`\`\`\`\n`)
  }

  /** Prints the hosts of a deploy that failed. */
  async #showHosts(partial: unknown): Promise<void> {
    const [{ deploySchema }, { renderDeploy }] = await Promise.all([
      import('../domain/contract/deploy.js'),
      import('./render/deploy/deploys.js'),
    ])
    const deploy = deploySchema.safeParse(partial)
    if (deploy.success) this.log(renderDeploy(deploy.data, this.paint))
  }

  override log(text: string): void {
    super.log(printable(text))
  }

  override logJson(document: unknown): void {
    process.stdout.write(`${printableJson(document)}\n`)
  }

  protected override toSuccessJson(result: object): object {
    return { ok: true, ...result }
  }
}

/** `--ami "$AMI"` with an unset AMI must not count as no --ami. Empty environment variables count as unset. */
function refuseEmptyFlags(raw: readonly { type: string; flag?: string; input?: string }[]): void {
  const empty = raw.find((token) => token.type === 'flag' && token.input === '')
  if (!empty) return
  throw new ClawctlError('USAGE', `--${empty.flag} is empty.`, {
    hint: `Give it a value, or leave --${empty.flag} out.`,
  })
}

function onlyInCi({ what, workflow, instead }: Direct): ClawctlError {
  const other = instead ?? (workflow && `Run the workflow ${workflow}`)
  return new ClawctlError('NOT_CI', `${what} AWS directly, which needs ci mode.`, {
    hint: `${other ? `${other}; with` : 'With'} your own AWS credentials, add --mode ci.`,
  })
}

/** @throws ClawctlError USAGE if the folder was deleted meanwhile */
function currentFolder(): string {
  try {
    return process.cwd()
  } catch {
    throw new ClawctlError('USAGE', 'The current folder no longer exists.', { hint: 'Change to an existing folder.' })
  }
}
