import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { renderProblems } from '../../lib/cli/render/registry.js'
import { checkFiles, refuseErrors } from '../../lib/ops/registry/checkFiles.js'

export default class RegistryCheck extends BaseCommand<typeof RegistryCheck> {
  static override summary = 'Check nix/instances.json and the host files, and report every problem with its line.'
  static override description =
    'Prints one line per problem, like a compiler. Exits with 2 if there is an error; an unused host file is only a warning.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'The problems of one instance',
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
