import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { CATALOG_PORTS, IMAGE_DIRECT } from '../../lib/cli/ports.js'
import { renderImages } from '../../lib/cli/render/images/catalog.js'
import { listImages } from '../../lib/ops/images/catalog.js'

export default class ImageList extends BaseCommand<typeof ImageList> {
  static override summary = "List the fleet's AMIs, newest first: running instances, the latest, rollback targets."
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'The AMI that a deploy would use',
      command: "<%= config.bin %> <%= command.id %> --json | jq -r '.images[] | select(.latest).id'",
    },
  ]

  async work() {
    return { images: await listImages(await this.context.pick(...CATALOG_PORTS)) }
  }

  override render({ images }: Result<this>) {
    return renderImages(images, new Date(), this.paint)
  }

  protected override readonly direct = {
    ...IMAGE_DIRECT,
    instead: '`clawctl fleet status` shows the latest AMI, and the one of each host',
  }
}
