import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderProblems } from '../../lib/cli/render/registry.js'
import { checkFiles, refuseErrors } from '../../lib/ops/registry/checkFiles.js'

export default class RegistryCheck extends BaseCommand<typeof RegistryCheck> {
  static override summary = 'Find every problem of nix/instances.json and of the host files beside it, with its line.'
  static override description =
    'Prints one line a problem, as compilers do. Ends with 2 where there is an error; a host file that no instance uses is only a warning.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'What is wrong with one instance',
      command: `<%= config.bin %> <%= command.id %> --json | jq '.problems[] | select(.id=="clawdinator-2")'`,
    },
  ]

  async work() {
    const { registry, checkout } = await this.context.pick('registry', 'checkout')
    const { problems, instances } = await checkFiles(registry, checkout)
    return { instances, problems }
  }

  override render({ problems, instances }: Result<this>) {
    return renderProblems(problems, instances)
  }

  override verdict({ problems }: Result<this>) {
    refuseErrors(problems)
  }
}
