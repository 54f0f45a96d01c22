import { BaseCommand } from '../../lib/cli/baseCommand.js'
import { renderImages } from '../../lib/cli/render/images/catalog.js'
import { listImages } from '../../lib/ops/images/catalog.js'

export default class ImageList extends BaseCommand {
  static override summary =
    "Show the fleet's AMIs, newest first: who runs them, which is latest, which are rollback targets."
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'The AMI that a deploy would take',
      command: "<%= config.bin %> <%= command.id %> --json | jq -r '.images[] | select(.latest).id'",
    },
  ]

  async run(): Promise<object> {
    const { flags } = await this.parse(ImageList)
    const images = await listImages(await this.context(flags).imageCatalog())
    this.log(renderImages(images, new Date(), this.paint))
    return { images }
  }
}
