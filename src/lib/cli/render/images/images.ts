import { sizeText } from '../../../domain/images/progress.js'
import type { BuiltImage } from '../../../ops/images/buildImage.js'
import type { DirectImport } from '../../../ops/images/importDirect.js'
import type { ImportedImage } from '../../../ops/images/importImage.js'
import type { UploadedImage } from '../../../ops/images/uploadImage.js'
import type { Paint } from '../../text.js'

/** The first line is only the path of image.json, for scripts; the rest is for people. */
export function renderBuild(image: BuiltImage, paint: Paint): string {
  const of = image.revision === null ? 'of no commit' : `of ${image.revision.slice(0, 12)}`
  const size = `${sizeText(image.logicalBytes)}, ${sizeText(image.allocatedBytes)} of them data`
  return `${image.infoPath}\n${paint('dim', `${image.name} ${of}: ${size}, in ${image.seconds.toFixed(0)} s. SHA-256 ${image.sha256}.`)}`
}

/** The first line is only the key: scripts run `clawctl image upload | head -1`. */
export function renderImageUpload(uploaded: UploadedImage, paint: Paint): string {
  const { key, parts, bytes, bytesSent, seconds, existed } = uploaded
  const rate = seconds > 0 ? `, ${sizeText(bytes / seconds)}/s` : ''
  const copied = parts.copied > 0 ? ` (${parts.copied} parts are holes)` : ''
  const summary = existed
    ? `It existed already: ${bytesSent === 0 ? 'nothing was sent' : 'another run finished first'}.`
    : `Sent ${parts.sent} of ${parts.total} parts, ${sizeText(bytesSent)} of ${sizeText(bytes)}${copied}, in ${seconds.toFixed(1)} s${parts.resumed > 0 ? '' : rate}.`
  return `${key}\n${paint('dim', summary)}`
}

export function renderImport(imported: ImportedImage, paint: Paint): string {
  const summary = imported.existed
    ? `${imported.image.name} existed already.`
    : `${imported.image.name} of ${imported.key}, in ${imported.seconds.toFixed(0)} s.`
  return `${imported.image.id}\n${paint('dim', summary)}`
}

export function renderDirectImport(imported: DirectImport, paint: Paint): string {
  const { image, existed, parent, blocks, bytesSent, seconds } = imported
  if (existed) return `${image.id}\n${paint('dim', `${image.name} existed already: nothing was sent.`)}`
  const base = parent === null ? '' : `, ${blocks.unchanged} are unchanged since ${parent}`
  const resumed = blocks.resumed === 0 ? '' : `, ${blocks.resumed} were sent by an earlier run`
  const summary = `${image.name}: sent ${blocks.sent} blocks (${sizeText(bytesSent)})${base}${resumed}, in ${seconds.toFixed(1)} s.`
  return `${image.id}\n${paint('dim', summary)}`
}
