import { Help } from '@oclif/core/help'
import { unknownCommand } from './lib/cli/failure.js'
import { EXIT_CODES } from './lib/domain/errors.js'

/** oclif's help, with the exit codes added for scripts. */
export default class ClawctlHelp extends Help {
  constructor(...args: ConstructorParameters<typeof Help>) {
    super(...args)
    this.render = onlyTemplates(this.render)
  }

  protected override getCommandHelpClass(command: Parameters<Help['formatCommand']>[0]) {
    const help = super.getCommandHelpClass(command)
    help.render = onlyTemplates(help.render)
    return help
  }

  override async showHelp(argv: string[]): Promise<void> {
    try {
      await super.showHelp(argv)
    } catch (error) {
      const [, id] = /^Command (\S+) not found\.$/.exec((error as Error).message) ?? []
      throw id === undefined ? error : unknownCommand(id, this.config)
    }
  }

  override formatRoot(): string {
    const start = [
      '$ clawctl sandbox demo             a tour in a sandbox on this machine, 30 s',
      '$ clawctl fleet status             desired and running instances, with their health',
      '$ clawctl fleet deploy TARGET      replace one instance, or all',
      '$ clawctl preflight                check that deploys from chat will work',
      '$ clawctl completion bash          completion for your shell',
    ]
    return [super.formatRoot(), this.section('START HERE', start.join('\n')), this.#exitCodes()].join('\n\n')
  }

  override formatCommand(command: Parameters<Help['formatCommand']>[0]): string {
    return `${super.formatCommand(command).trimEnd()}\n\n${this.#exitCodes()}`
  }

  #exitCodes(): string {
    return this.section(
      'EXIT CODES',
      Object.entries(EXIT_CODES)
        .map(([code, meaning]) => `${code}  ${meaning}`)
        .join('\n'),
    )
  }
}

/** Most texts have no tags. ejs would compile a function for each, which takes a sixth of the time of `--help`. */
function onlyTemplates(render: (text: string) => string): (text: string) => string {
  return (text) => (text.includes('<%') ? render(text) : text)
}
