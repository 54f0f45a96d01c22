import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { BLOCK_BYTES, encodeBlockMap, MAX_IMAGE_BYTES, planBlocks, volumeGib } from '../../domain/images/blocks.js'
import { DIGEST_TAG, manifestKey, SOURCE_TAG } from '../../domain/images/names.js'
import { sizeText } from '../../domain/images/progress.js'
import type { Registry } from '../../domain/registry/registry.js'
import { poll, whileYoung } from '../poll.js'
import { type Scan, scanBlocks, writeBlocks } from './blocks.js'
import { checkInstances, type ImageSource, invalid, openImage } from './imageSource.js'
import { hexOf, type OpenedSnapshot, openSnapshot, type Parent, readManifest } from './openSnapshot.js'
import type { ImagePorts } from './ports.js'
import { findReadyImage, type ReadyImage, registerImage } from './registerImage.js'

/** How many blocks are sent at once by default: at 30 ms a block as many as EBS takes (1000 a second), in 16 MiB of memory. */
export const BLOCK_CONCURRENCY = 32
/** A snapshot whose blocks are all there is sealed within minutes. */
const SEAL_MS = 30 * 60_000
const LONGEST_POLL_MS = 10_000
/** A snapshot or AMI of few blocks is there before one would have looked. */
const FIRST_POLL_MS = 50

export interface DirectOptions {
  file: string | undefined
  concurrency: number
  kmsKey: string | null
  /** Send every block: no parent is searched for. */
  full: boolean
  /** Take what does not look like an image that boots. */
  force: boolean
  /** Whose instance types have to boot it; undefined where there is none. */
  registry: Registry | undefined
  /** After a failure too the unfinished snapshot stays, to be resumed. */
  keepPartial: boolean
}

export interface DirectImport {
  image: ReadyImage
  digest: string
  /** The AMI was there already. */
  existed: boolean
  parent: string | null
  encrypted: boolean
  resumed: boolean
  blocks: {
    /** With data, in the image. */
    data: number
    /** Written now: blocks with data, and zeros. */
    sent: number
    sentZeros: number
    /** The parent has them. */
    unchanged: number
    /** An earlier run had written them. */
    resumed: number
    retried: number
  }
  bytesSent: number
  bytesRead: number
  extentsBy: string | null
  seconds: number
}

/** Makes an AMI of a raw image without VM Import: its blocks go into a snapshot, of which only those that a parent lacks. */
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
      `${file.path} is a ${format.toUpperCase()}; --direct writes raw images only.`,
      'Upload it and import the key, or convert it: qemu-img convert -O raw IN OUT.raw.',
    )
  }
  if (file.bytes > MAX_IMAGE_BYTES) {
    throw invalid(`${file.path} is larger than an EBS snapshot may be (64 TiB).`, 'Build a smaller image.')
  }
  // The service is asked for a parent while the file is read.
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
    // A run that was killed at its very end left one.
    await journal.clear()
    return result({ image: there, existed: true })
  }
  if (!(await journal.lock())) {
    throw new ClawctlError('REQUEST_CONFLICT', `This image is being imported by ${await journal.holder()}.`, {
      hint: 'Wait for it, then run the command again: it finds the AMI. Where nothing of the kind runs, remove that file.',
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
    // The manifest before the AMI is the latest: the next import looks for it.
    await Promise.all([awaitSealed(snapshotId, ports), objects.put(manifestKey(digest), manifest)])
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
  /** Snapshots that might have been one. */
  withoutManifest: { id: string; digest: string }[]
}

/** The newest finished snapshot of an image of that size whose manifest is in the bucket. */
async function findParent(sizeGib: number, kmsKey: string | null, ports: ImagePorts): Promise<ParentSearch> {
  const withoutManifest: ParentSearch['withoutManifest'] = []
  const found = await ports.snapshots.find({ app: 'clawdinator' })
  for (const snapshot of found) {
    const of = snapshot.tags[DIGEST_TAG]
    // What VM Import made has no manifest.
    if (!of || snapshot.tags[SOURCE_TAG] || snapshot.state !== 'completed' || snapshot.sizeGib !== sizeGib) continue
    // A child has its parent's key: another one needs a snapshot of its own.
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

/** Null: everything has to be sent. */
function foundParent(
  { parent, withoutManifest }: ParentSearch,
  sizeGib: number,
  { progress }: ImagePorts,
): Parent | null {
  for (const { id, digest } of withoutManifest) {
    progress.note(`${id} has no manifest that can be used (${manifestKey(digest)}): it can't be a parent.`)
  }
  if (parent === null) progress.note(`There is no earlier image of ${sizeGib} GiB to build on: all of it is sent.`)
  return parent
}

/** An interrupted upload is resumed; one that failed would fail again, so that its snapshot goes unless it is to be kept. */
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
    const resume = `The snapshot ${snapshotId} stays unfinished: run the same command again to send the rest.`
    const kept = (why: string | undefined) =>
      withPartial(failure, { snapshot: { id: snapshotId, kept: true } }, [why, resume].filter(Boolean).join(' '))
    if (failure.code === 'CANCELLED') throw kept(undefined)
    // Expired credentials: with new ones it goes on.
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
            `EBS could not complete ${id}: ${seen.message ?? 'it gives no reason'}.`,
            {
              hint: 'Run the command again: it sends the image anew.',
            },
          )
        }
        return { wait: seen ? `${seen.state} ${seen.progress}` : 'EC2 does not show it yet' }
      },
    ),
  )
  if ('done' in result) return
  throw new ClawctlError('TIMED_OUT', `${id} is not complete yet.`, {
    hint: 'Run the command again: it goes on waiting, then registers the AMI.',
  })
}

/** https://docs.aws.amazon.com/ebs/latest/APIReference/API_StartSnapshot.html: KmsKeyArn, unlike EC2's own calls. */
function needsArn(key: string): ClawctlError {
  return new ClawctlError('USAGE', `--direct takes a KMS key by its ARN, and ${JSON.stringify(key)} is none.`, {
    hint: `aws kms describe-key --key-id ${key} --query KeyMetadata.Arn --output text prints it.`,
  })
}
