import { sizeText } from '../../../domain/images/progress.js'
import type { UploadedBundle, UploadResult } from '../../../ops/bundles/upload.js'
import type { VerifiedBundle } from '../../../ops/bundles/verify.js'
import { age, type Paint, table } from '../../text.js'

const OUTCOME_STYLE: Record<UploadedBundle['outcome'], Parameters<Paint>[0]> = {
  created: 'green',
  replaced: 'green',
  unchanged: 'dim',
  conflict: 'red',
  failed: 'red',
}

/** `bootstrap upload` for people. */
export function renderBundleUpload({ bundles, dryRun, strays }: UploadResult, paint: Paint): string {
  const rows = bundles.map((bundle) => [
    bundle.id,
    paint(OUTCOME_STYLE[bundle.outcome], dryRun ? WOULD[bundle.outcome] : bundle.outcome),
    String(bundle.generation),
    ...(dryRun
      ? [bundle.changed.join(' ') || '-']
      : [
          String(bundle.sent),
          sizeText(bundle.sentBytes),
          String(bundle.copied),
          String(bundle.kept),
          String(bundle.removed),
        ]),
  ])
  const counts = ['SENT', 'BYTES', 'COPIED', 'KEPT', 'REMOVED'].map((title, at) => ({ title, narrow: 5 - at }))
  return [
    table(['INSTANCE', 'BUNDLE', 'GENERATION', ...(dryRun ? ['WOULD CHANGE'] : counts)], rows),
    ...(strays.length > 0 ? ['', `Ignored, because their names are not names of secrets: ${strays.join(', ')}`] : []),
    ...(dryRun ? ['', 'Nothing was uploaded.'] : []),
  ].join('\n')
}

const WOULD: Record<UploadedBundle['outcome'], string> = {
  created: 'would be created',
  replaced: 'would be replaced',
  unchanged: 'unchanged',
  conflict: 'conflict',
  failed: 'failed',
}

/** `bootstrap verify` for people, if every bundle verified. */
export function renderVerify(bundles: readonly VerifiedBundle[], now: Date, paint: Paint): string {
  const rows = bundles.map((bundle) => [
    bundle.id,
    !bundle.whole
      ? paint('red', 'incomplete')
      : bundle.untested.length > 0
        ? paint('yellow', `complete, ${bundle.untested.length} secrets untested`)
        : paint('green', 'whole'),
    String(bundle.generation ?? '-'),
    String(bundle.objects),
    sizeText(bundle.bytes),
    age(bundle.createdAt, now),
    bundle.revision?.slice(0, 12) ?? '-',
  ])
  const facts = ['OBJECTS', 'BYTES', 'AGE', 'REVISION'].map((title, at) => ({ title, narrow: 4 - at }))
  return table(['INSTANCE', 'BUNDLE', 'GENERATION', ...facts], rows)
}
