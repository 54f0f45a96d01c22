import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { CATALOG_PORTS } from '../../lib/cli/ports.js'
import { renderImages } from '../../lib/cli/render/images/catalog.js'
import { IMAGE_WORKFLOW } from '../../lib/domain/paths.js'
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
    what: 'Image commands use',
    workflow: IMAGE_WORKFLOW,
    instead: '`clawctl fleet status` shows the latest AMI, and the one of each host',
  }
}
