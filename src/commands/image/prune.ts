import { boolean, integer } from '@oclif/core/flags'
import ms from 'ms'
import { BaseCommand, type Result } from '../../lib/cli/baseCommand.js'
import { confirmOnTerminal } from '../../lib/cli/confirm.js'
import { durationFlag } from '../../lib/cli/flags.js'
import { CATALOG_PORTS, IMAGE_DIRECT } from '../../lib/cli/ports.js'
import { countsText, renderPruned, renderPrunePlan } from '../../lib/cli/render/images/catalog.js'
import { removalsOf } from '../../lib/domain/images/prune.js'
import { pruneImages } from '../../lib/ops/images/pruneImages.js'

const OLDER_THAN = '30d'

export default class ImagePrune extends BaseCommand<typeof ImagePrune> {
  static override summary = 'Remove unused AMIs, with their snapshots and objects.'
  static override description =
    'Always kept: the latest AMI, AMIs that an instance runs or the OpenTofu state names, rollback targets, and AMIs of a running deploy. Of the others, the newest are kept (--keep), and those younger than --older-than. Snapshots, objects, manifests and unfinished uploads are removed when no kept AMI needs them. Can be interrupted and run again.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --dry-run',
    '<%= config.bin %> <%= command.id %> --keep 5 --older-than 14d --yes',
  ]
  static override flags = {
    keep: integer({ summary: 'How many of the newest AMIs to keep.', default: 3, min: 1, max: 1000 }),
    'older-than': durationFlag({ summary: 'Keep what is younger than this.', default: OLDER_THAN, longest: '3650d' }),
    'dry-run': boolean({ summary: 'Show what would be removed and kept, and why; remove nothing.' }),
    yes: boolean({ char: 'y', summary: 'Remove without asking.', exclusive: ['dry-run'] }),
  }

  async work() {
    const { flags } = this
    const pruned = await pruneImages(
      {
        keep: flags.keep,
        olderThanMs: flags['older-than'] ?? ms(OLDER_THAN),
        dryRun: flags['dry-run'],
        confirm: async (plan) => {
          this.log(renderPrunePlan(plan, new Date(), this.paint))
          return flags.yes || confirmOnTerminal(`Remove ${countsText(removalsOf(plan))}?`)
        },
      },
      await this.context.pick(...CATALOG_PORTS),
    )
    return { prune: { dryRun: flags['dry-run'], ...pruned } }
  }

  override render({ prune }: Result<this>) {
    return prune.dryRun ? renderPrunePlan(prune.plan, new Date(), this.paint) : renderPruned(prune)
  }

  protected override readonly direct = IMAGE_DIRECT
}
