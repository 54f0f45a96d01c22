import { sizeText } from '../../../domain/images/progress.js'
import type { BuiltImage } from '../../../ops/images/buildImage.js'
import type { Paint } from '../../text.js'

/** The first line is only the path of image.json, for scripts; the other lines are for people. */
export function renderBuild(image: BuiltImage, paint: Paint): string {
  const of = image.revision === null ? 'of no commit' : `of ${image.revision.slice(0, 12)}`
  const size = `${sizeText(image.logicalBytes)}, ${sizeText(image.allocatedBytes)} of them data`
  return `${image.infoPath}\n${paint('dim', `${image.name} ${of}: ${size}, in ${image.seconds.toFixed(0)} s. SHA-256 ${image.sha256}.`)}`
}
