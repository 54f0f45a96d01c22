import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { BLOCK_BYTES, encodeBlockMap, MAX_IMAGE_BYTES, planBlocks, volumeGib } from '../../domain/images/blocks.js'
import { blockManifestKey, DIGEST_TAG, SOURCE_TAG } from '../../domain/images/names.js'
import { sizeText } from '../../domain/images/progress.js'
import type { Registry } from '../../domain/registry/registry.js'
import { poll, whileYoung } from '../poll.js'
import { type Scan, scanBlocks, writeBlocks } from './blocks.js'
import { checkInstances, type ImageSource, invalid, openImage } from './imageSource.js'
import { hexOf, type OpenedSnapshot, openSnapshot, type Parent, readManifest } from './openSnapshot.js'
import type { ImagePorts } from './ports.js'
import { findReadyImage, type ReadyImage, registerImage } from './registerImage.js'

/** Default of concurrently sent blocks: at 30 ms per block this reaches EBS's 1000 per second, in 16 MiB of memory. */
export const BLOCK_CONCURRENCY = 32
/** EBS completes a snapshot within minutes after its last block. */
const SEAL_MS = 30 * 60_000
const LONGEST_POLL_MS = 10_000
/** A small snapshot or AMI is ready within a second. */
const FIRST_POLL_MS = 50

export interface DirectOptions {
  file: string | undefined
  concurrency: number
  kmsKey: string | null
  /** Send every block, without a parent. */
  full: boolean
  /** Import the image even if it does not look bootable. */
  force: boolean
  /** The registry whose instance types have to boot it; undefined without one. */
  registry: Registry | undefined
  /** Keep the unfinished snapshot after a failure, to resume it. */
  keepPartial: boolean
}

export interface DirectImport {
  image: ReadyImage
  digest: string
  /** The AMI existed already. */
  existed: boolean
  parent: string | null
  encrypted: boolean
  resumed: boolean
  blocks: {
    /** Blocks with data in the image. */
    data: number
    /** Blocks written now: with data, and zeros. */
    sent: number
    sentZeros: number
    /** Blocks that the parent has. */
    unchanged: number
    /** Blocks that an earlier run wrote. */
    resumed: number
    retried: number
  }
  bytesSent: number
  bytesRead: number
  extentsBy: string | null
  seconds: number
}

/** Makes an AMI from a raw image without VM Import: writes the blocks that the parent snapshot lacks into a new snapshot. */
export async function importDirect(options: DirectOptions, ports: ImagePorts): Promise<DirectImport> {
  if (options.kmsKey !== null && !options.kmsKey.startsWith('arn:')) throw needsArn(options.kmsKey)
  const sourceOptions = { force: options.force, progress: ports.progress }
  const source = await openImage(ports.files, options.file, sourceOptions)
  try {
    checkInstances(source.facts, options.registry, sourceOptions)
    const done = await importOpened(source, options, ports).catch((error) => {
      const failure = asClawctlError(error)
      if (failure.code !== 'CANCELLED' || failure.hint) throw failure
      throw withPartial(failure, {}, 'Run the same command again: it resumes.')
    })
    await ports.report.output('sent_bytes', String(done.bytesSent))
    await ports.report.output('import_seconds', done.seconds.toFixed(0))
    return done
  } finally {
    await source.file.close()
  }
}

async function importOpened(
  { file, format, facts }: ImageSource,
  options: DirectOptions,
  ports: ImagePorts,
): Promise<DirectImport> {
  const { clock, progress, objects } = ports
  const began = clock.now().getTime()
  if (format !== 'raw') {
    throw invalid(
      `${file.path} is a ${format.toUpperCase()}; --direct accepts only raw images.`,
      'Upload it and import the key, or convert it: qemu-img convert -O raw IN OUT.raw.',
    )
  }
  if (file.bytes > MAX_IMAGE_BYTES) {
    throw invalid(`${file.path} is larger than an EBS snapshot may be (64 TiB).`, 'Build a smaller image.')
  }
  // Search for a parent while the file is read.
  const sizeGib = volumeGib(file.bytes)
  const search = options.full ? null : findParent(sizeGib, options.kmsKey, ports)
  search?.catch(() => {})
  const scan = await progress.task(`Read ${file.name}, ${sizeText(file.bytes)}`, (update) =>
    scanBlocks(file, ports, update),
  )
  const manifest = encodeBlockMap(scan.map)
  const digest = hexOf(ports.digests.of(manifest))
  const result = resultOf(scan, digest, () => (clock.now().getTime() - began) / 1000)
  await ports.report.output('digest', digest)

  const there = await findReadyImage(ports, { facts, digest, source: null, kmsKey: options.kmsKey })
  const journal = ports.journal(digest)
  if (there) {
    // A run that was killed at its end may have left one.
    await journal.clear()
    return result({ image: there, existed: true })
  }
  if (!(await journal.lock())) {
    throw new ClawctlError('REQUEST_CONFLICT', `This image is being imported by ${await journal.holder()}.`, {
      hint: 'Wait for it, then run the command again: it finds the AMI. If no such process runs, remove that file.',
    })
  }
  try {
    const parents = search && (async () => foundParent(await search, sizeGib, ports))
    const opened = await openSnapshot({ digest, facts, sizeGib, kmsKey: options.kmsKey }, parents, journal, ports)
    const { snapshotId, parent, encrypted } = opened
    const plan = planBlocks(scan.map, parent?.map ?? null, encrypted)
    const written = await keepingOrDeleting(opened, options, journal, ports, async () => {
      const written = await writeBlocks({ file, map: scan.map, plan, opened, journal }, options.concurrency, ports)
      if (!opened.sealed) {
        const { checksum } = written
        await whileYoung(ports, { id: snapshotId }, () =>
          ports.snapshots.complete(snapshotId, { blocks: plan.writes.length, checksum }),
        )
        await journal.append(JSON.stringify({ sealed: true }))
        opened.sealed = true
      }
      return written
    })
    // Write the manifest before the AMI becomes the latest: the next import needs it.
    await Promise.all([awaitSealed(snapshotId, ports), objects.put(blockManifestKey(digest), manifest)])
    const image = await registerImage(ports, { facts, digest, source: null, snapshotId })
    await journal.clear()
    return result({
      image,
      parent: parent?.snapshotId ?? null,
      encrypted,
      resumed: opened.resumed,
      bytesSent: written.sent * BLOCK_BYTES,
      blocks: {
        data: scan.map.indexes.length,
        sent: written.sent,
        sentZeros: written.sentZeros,
        unchanged: plan.unchanged,
        resumed: written.resumed,
        retried: written.retried,
      },
    })
  } finally {
    await journal.unlock()
  }
}

function resultOf(scan: Scan, digest: string, seconds: () => number) {
  return (change: Partial<DirectImport> & { image: ReadyImage }): DirectImport => ({
    digest,
    existed: false,
    parent: null,
    encrypted: false,
    resumed: false,
    blocks: { data: scan.map.indexes.length, sent: 0, sentZeros: 0, unchanged: 0, resumed: 0, retried: 0 },
    bytesSent: 0,
    bytesRead: scan.bytesRead,
    extentsBy: scan.extentsBy,
    seconds: seconds(),
    ...change,
  })
}

interface ParentSearch {
  parent: Parent | null
  /** Candidates that can't be used as a parent. */
  withoutManifest: { id: string; digest: string }[]
}

/** The newest finished snapshot of an image of that size whose manifest is in the bucket. */
async function findParent(sizeGib: number, kmsKey: string | null, ports: ImagePorts): Promise<ParentSearch> {
  const withoutManifest: ParentSearch['withoutManifest'] = []
  const found = await ports.snapshots.find({ app: 'clawdinator' })
  for (const snapshot of found) {
    const of = snapshot.tags[DIGEST_TAG]
    // Snapshots of VM Import have no manifest.
    if (!of || snapshot.tags[SOURCE_TAG] || snapshot.state !== 'completed' || snapshot.sizeGib !== sizeGib) continue
    // A child is encrypted with its parent's key: another key needs a snapshot without a parent.
    if (kmsKey !== null && snapshot.kmsKey !== kmsKey) continue
    const map = await readManifest(of, ports)
    if (map) {
      const { id: snapshotId, encrypted } = snapshot
      return { parent: { snapshotId, digest: of, encrypted, map }, withoutManifest }
    }
    withoutManifest.push({ id: snapshot.id, digest: of })
  }
  return { parent: null, withoutManifest }
}

/** Null: every block has to be sent. */
function foundParent(
  { parent, withoutManifest }: ParentSearch,
  sizeGib: number,
  { progress }: ImagePorts,
): Parent | null {
  for (const { id, digest } of withoutManifest) {
    progress.note(`${id} has no usable manifest (${blockManifestKey(digest)}), so it can't be a parent.`)
  }
  if (parent === null) progress.note(`There is no earlier image of ${sizeGib} GiB, so every block is sent.`)
  return parent
}

/** Keeps the snapshot of an interrupted upload for a resume. Deletes that of a failed one, unless --keep-partial. */
async function keepingOrDeleting<T>(
  opened: OpenedSnapshot,
  options: DirectOptions,
  journal: { clear(): Promise<void> },
  ports: ImagePorts,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const failure = asClawctlError(error)
    const { snapshotId } = opened
    const resume = `The snapshot ${snapshotId} is unfinished: run the same command again to send the rest.`
    const kept = (why: string | undefined) =>
      withPartial(failure, { snapshot: { id: snapshotId, kept: true } }, [why, resume].filter(Boolean).join(' '))
    if (failure.code === 'CANCELLED') throw kept(undefined)
    // Expired credentials: with new ones the upload can be resumed.
    if (failure.code === 'DENIED' || options.keepPartial) throw kept(failure.hint)
    try {
      await ports.snapshots.delete(snapshotId)
      await journal.clear()
    } catch {
      throw kept(failure.hint)
    }
    const hint = [failure.hint, `The unfinished snapshot ${snapshotId} was deleted.`].filter(Boolean).join(' ')
    throw withPartial(failure, { snapshot: { id: snapshotId, kept: false } }, hint)
  }
}

async function awaitSealed(id: string, { snapshots, clock, progress }: ImagePorts): Promise<void> {
  const result = await progress.task(`Wait until ${id} is complete`, (update) =>
    poll(
      { clock, timeoutMs: SEAL_MS, firstMs: FIRST_POLL_MS, longestMs: LONGEST_POLL_MS, onWait: update },
      async () => {
        const seen = await snapshots.describe(id)
        if (seen?.state === 'completed') return { done: true }
        if (seen?.state === 'error') {
          throw new ClawctlError(
            'IMPORT_FAILED',
            `EBS could not complete ${id}: ${seen.message ?? 'no reason was given'}.`,
            {
              hint: 'Run the command again: it sends the image again.',
            },
          )
        }
        return { wait: seen ? `${seen.state} ${seen.progress}` : 'EC2 does not show it yet' }
      },
    ),
  )
  if ('done' in result) return
  throw new ClawctlError('TIMED_OUT', `${id} is not complete yet.`, {
    hint: 'Run the command again: it continues to wait, then registers the AMI.',
  })
}

/** https://docs.aws.amazon.com/ebs/latest/APIReference/API_StartSnapshot.html: KmsKeyArn, unlike EC2's own calls. */
function needsArn(key: string): ClawctlError {
  return new ClawctlError('USAGE', `--direct needs the ARN of a KMS key, but ${JSON.stringify(key)} is not an ARN.`, {
    hint: `aws kms describe-key --key-id ${key} --query KeyMetadata.Arn --output text prints it.`,
  })
}
