import { sizeText } from '../../../domain/images/progress.js'
import type { KeepReason, PrunePlan, RemoveReason, Verdict } from '../../../domain/images/prune.js'
import type { ListedImage } from '../../../ops/images/catalog.js'
import type { Pruned } from '../../../ops/images/pruneImages.js'
import type { Smoked } from '../../../ops/images/smokeImage.js'
import { age, type Column, type Paint, table } from '../../text.js'

const GIB = 1024 ** 3

const IMAGE_COLUMNS: (Column | string)[] = [
  'AMI',
  { title: 'AGE', narrow: 4 },
  { title: 'REVISION', narrow: 2 },
  { title: 'DIGEST', narrow: 1 },
  { title: 'SIZE', narrow: 3 },
  'STATE',
  { title: 'RUN BY', narrow: 6 },
  { title: 'ROLLBACK OF', narrow: 5 },
]
const PRUNE_COLUMNS: (Column | string)[] = [
  '',
  // Of an AMI's id and name, the id.
  { title: 'WHAT', narrow: 3, short: (cell) => cell.replace(/^(ami-\S+) .*/, '$1') },
  { title: 'AGE', narrow: 2 },
  { title: 'SIZE', narrow: 1 },
  'WHY',
]

/** `image list` for people. */
export function renderImages(images: readonly ListedImage[], now: Date, paint: Paint): string {
  if (images.length === 0) return 'The fleet has no AMI. Start with `clawctl image build`.'
  const rows = images.map((image) => [
    image.id,
    age(image.createdAt, now),
    image.revision?.slice(0, 12) ?? '-',
    image.digest?.slice(0, 12) ?? '-',
    image.sizeGib === null ? '-' : sizeText(image.sizeGib * GIB),
    stateOf(image, paint),
    image.usedBy.join(' ') || '-',
    image.rollbackOf.join(' ') || '-',
  ])
  return table(IMAGE_COLUMNS, rows)
}

function stateOf({ latest, failedIn, ready, state }: ListedImage, paint: Paint): string {
  if (ready && failedIn !== null) return paint('yellow', latest ? 'latest, failed' : 'failed')
  if (latest) return paint('green', 'latest')
  return ready ? 'ready' : paint('yellow', state)
}

const REMOVE_WORDS: Record<RemoveReason, string> = {
  old: 'old and unused',
  'of-removed-image': 'its AMI is removed',
  'no-image': 'unused: no AMI needs it',
  unfinished: 'unfinished',
}

function keepWords(reason: KeepReason): string {
  switch (reason.code) {
    case 'latest':
      return 'the latest'
    case 'in-use':
      return `run by ${reason.by.join(', ')}`
    case 'in-state':
      return 'named in the OpenTofu state'
    case 'rollback':
      return `the rollback target of ${reason.of.join(', ')}`
    case 'deploying':
      return 'used by a running deploy'
    case 'newest':
      return `one of the newest ${reason.keep}`
    case 'young':
      return 'young'
    case 'image':
      return `of ${reason.id}`
    case 'importing':
      return 'being imported'
    case 'zeros':
      return 'uploads copy zeros from it'
    case 'foreign':
      return 'not made by clawctl'
  }
}

/** What is removed and what is kept, with the reason for each. */
export function renderPrunePlan(plan: PrunePlan, now: Date, paint: Paint): string {
  const row = (verdict: Verdict<unknown>, what: string, made: Date, size = '-') => [
    'remove' in verdict ? paint('red', 'remove') : 'keep',
    what,
    age(made.toJSON(), now),
    size,
    'remove' in verdict ? REMOVE_WORDS[verdict.remove] : keepWords(verdict.keep),
  ]
  const gib = (value: number | null) => (value === null ? '-' : sizeText(value * GIB))
  const rows = [
    ...plan.images.map((one) => row(one, `${one.item.id} ${one.item.name}`, one.item.createdAt)),
    ...plan.snapshots.map((one) => row(one, one.item.id, one.item.startedAt, gib(one.item.sizeGib))),
    ...plan.objects.map((one) => row(one, one.item.key, one.item.modifiedAt, sizeText(one.item.bytes))),
    ...plan.uploads.map((one) => row(one, `upload of ${one.item.key}`, one.item.startedAt)),
  ]
  return rows.length === 0 ? 'There are no images.' : table(PRUNE_COLUMNS, rows)
}

/** "2 AMIs, 1 snapshot" */
export function countsText(of: Record<'images' | 'snapshots' | 'objects' | 'uploads', readonly unknown[]>): string {
  const counts = [
    [of.images.length, 'AMI'],
    [of.snapshots.length, 'snapshot'],
    [of.objects.length, 'object'],
    [of.uploads.length, 'unfinished upload'],
  ] as const
  return counts
    .flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}${count === 1 ? '' : 's'}`]))
    .join(', ')
}

export function renderPruned({ removed, objectBytes, snapshotGib }: Pruned): string {
  const counts = countsText(removed)
  if (counts === '') return 'Nothing was removed.'
  const freed = `${sizeText(objectBytes)} of objects and snapshots of up to ${sizeText(snapshotGib * GIB)}`
  return `Removed ${counts}: ${freed}.`
}

export function renderSmoked({ ami, instanceType, seconds }: Smoked): string {
  return `${ami} boots: status checks passed and the console shows the boot line after ${seconds.toFixed(0)} s on a ${instanceType}.`
}
