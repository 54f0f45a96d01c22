import { ClawctlError } from '../../domain/errors.js'
import { byNewest, isReady, revisionOfImage } from '../../domain/images/inventory.js'
import { DIGEST_TAG } from '../../domain/images/names.js'
import { type ImageReport, imageReport, reportMarkdown } from '../../domain/images/report.js'
import { findImages } from './catalog.js'
import { infoIn } from './imageSource.js'
import { readManifest } from './openSnapshot.js'
import type { ImagePorts } from './ports.js'

export interface ReportOptions extends Pick<ImageReport, 'seconds' | 'sentBytes'> {
  ami: string | null
  /** Folder of image.json. */
  out: string
}

/** Compares the new image with the previous one; under GitHub Actions, also as a step summary. */
export async function reportImage(
  options: ReportOptions,
  ports: Pick<ImagePorts, 'files' | 'images' | 'objects' | 'digests' | 'progress' | 'report'>,
): Promise<{ report: ImageReport; markdown: string }> {
  const info = await infoIn(ports.files, options.out)
  if (info === null) {
    throw new ClawctlError('INVALID_IMAGE', `There is no image.json in ${options.out}.`, {
      hint: 'Run `clawctl image build` first, or pass its folder with --out.',
    })
  }
  const images = (await findImages(ports)).sort(byNewest)
  const own = images.find(({ id }) => id === options.ami)
  if (options.ami !== null && !own) {
    throw new ClawctlError('AMI_NOT_FOUND', `The fleet has no AMI ${options.ami}.`, {
      hint: '`clawctl image list` shows the AMIs.',
    })
  }
  const before = images.find(
    (image) => isReady(image) && image.id !== own?.id && (!own || image.createdAt <= own.createdAt),
  )
  const mapOf = async (digest: string | undefined) => (digest === undefined ? null : readManifest(digest, ports))
  const report = imageReport(info, {
    ...options,
    map: await mapOf(own?.tags[DIGEST_TAG]),
    previous: before
      ? { ami: before.id, revision: revisionOfImage(before), map: await mapOf(before.tags[DIGEST_TAG]) }
      : null,
  })
  const markdown = reportMarkdown(report)
  await ports.report.summary(markdown)
  return { report, markdown }
}
