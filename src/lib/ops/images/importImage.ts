import ms from 'ms'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import type { ImageFacts } from '../../domain/images/build.js'
import { BOOT_MODES, type ImageFormat } from '../../domain/images/format.js'
import { DIGEST_TAG, IMAGE_PREFIX, imageKey, imageTags, parseImageKey } from '../../domain/images/names.js'
import { nearest } from '../../domain/nearest.js'
import type { Registry } from '../../domain/registry/registry.js'
import { poll, untilSeen } from '../poll.js'
import { checkInstances, infoIn, invalid } from './imageSource.js'
import type { ImageTaskPorts, ImportTask, StoredImage } from './ports.js'
import { describe, findReadyImage, type ReadyImage, registerImage } from './registerImage.js'

/** VM Import takes tens of minutes; after this time it counts as hanging. */
export const IMPORT_TIMEOUT = '3h'
const LONGEST_POLL_MS = 15_000
/** How long to wait for the snapshot of a completed task before it counts as deleted. */
const LOOK_AGAIN_MS = 10_000
/** A second attempt, only if the service itself failed. */
const MOST_TRIES = 2

export interface ImportOptions {
  /** Role that VM Import assumes; null for vmimport. */
  role: string | null
  kmsKey: string | null
  /** The registry whose instance types have to boot it; undefined without one. */
  registry: Registry | undefined
  /** Import it even if none of them can. */
  force: boolean
  timeoutMs: number
}

export interface ImportedImage {
  image: ReadyImage
  key: string
  digest: string
  /** The AMI existed already. */
  existed: boolean
  taskId: string | null
  /** An earlier run had started the task. */
  adopted: boolean
  seconds: number
}

interface Uploaded {
  key: string
  format: ImageFormat
  /** The whole SHA-256 if the object's metadata has it, else the digits in its key. */
  digest: string
  facts: ImageFacts
}

/** Makes an AMI from an uploaded image with VM Import. Run again, it resumes the task, snapshot or AMI. */
export async function importImage(
  asked: { key: string | undefined } & ImportOptions,
  ports: ImageTaskPorts,
): Promise<ImportedImage> {
  const began = ports.clock.now().getTime()
  const uploaded = await findUploaded(asked.key, ports)
  const { key, digest, facts } = uploaded
  checkInstances(facts, asked.registry, { force: asked.force, progress: ports.progress })
  const result = async (part: Omit<ImportedImage, 'key' | 'digest' | 'seconds'>): Promise<ImportedImage> => {
    const seconds = (ports.clock.now().getTime() - began) / 1000
    await ports.report.output('import_seconds', seconds.toFixed(0))
    return { ...part, key, digest, seconds }
  }
  const ready = await findReadyImage(ports, { facts, digest, source: key, kmsKey: asked.kmsKey })
  if (ready) return result({ image: ready, existed: true, taskId: null, adopted: false })
  try {
    const task = await importSnapshot(uploaded, asked, ports)
    const image = await registerImage(ports, { facts, digest, source: key, snapshotId: task.snapshotId })
    return await result({ image, existed: false, taskId: task.id, adopted: task.adopted })
  } catch (error) {
    const failure = asClawctlError(error)
    if (failure.code !== 'CANCELLED' && failure.code !== 'TIMED_OUT') throw failure
    const hint = 'The import continues in EC2: run the same command again to wait for it and register the AMI.'
    throw withPartial(failure, { import: { key } }, hint)
  }
}

/** @throws ClawctlError INVALID_IMAGE */
async function findUploaded(named: string | undefined, ports: ImageTaskPorts): Promise<Uploaded> {
  const key = named ?? (await defaultKey(ports))
  const there = await ports.objects.head(key)
  if (!there) {
    const keys = (await ports.objects.list(IMAGE_PREFIX)).map((object) => object.key).filter(parseImageKey)
    const near = nearest(key, keys)
    throw invalid(
      `${key} is not in the bucket ${ports.objects.bucket}.`,
      near ? `Did you mean ${near}?` : 'Upload the image first: `clawctl image upload FILE`.',
    )
  }
  return describeUploaded(there)
}

async function defaultKey({ files, objects, progress }: ImageTaskPorts): Promise<string> {
  const built = await infoIn(files)
  if (built) return imageKey(built.name, built.sha256, built.format)
  const images = (await objects.list(IMAGE_PREFIX)).filter(({ key }) => parseImageKey(key))
  const newest = images.sort((a, b) => b.modifiedAt.getTime() - a.modifiedAt.getTime())[0]
  if (!newest) {
    throw invalid(`There is no image in ${objects.bucket}/${IMAGE_PREFIX}.`, 'Upload one: `clawctl image upload FILE`.')
  }
  progress.note(`Importing ${newest.key}, the newest image in ${objects.bucket}.`)
  return newest.key
}

function describeUploaded({ key, metadata }: StoredImage): Uploaded {
  const parsed = parseImageKey(key)
  if (!parsed) {
    throw invalid(
      `${key} is not the key of an uploaded image (images/<name>-<digest>.<raw|vhd|vmdk>).`,
      'Upload the image with `clawctl image upload FILE` and import the key that it prints.',
    )
  }
  const { sha256 = '', name, bootmode, architecture, revision, toplevel } = metadata
  return {
    key,
    format: parsed.format,
    digest: sha256.startsWith(parsed.digest12) ? sha256 : parsed.digest12,
    facts: {
      name: name ?? parsed.name,
      bootMode: BOOT_MODES.find((mode) => mode === bootmode) ?? 'legacy-bios',
      architecture: architecture === 'arm64' ? 'arm64' : 'x86_64',
      revision: revision ?? null,
      toplevel: toplevel ?? null,
    },
  }
}

interface ImportedSnapshot {
  id: string
  snapshotId: string
  adopted: boolean
}

async function importSnapshot(
  image: Uploaded,
  options: ImportOptions,
  ports: ImageTaskPorts,
): Promise<ImportedSnapshot> {
  const { snapshots, objects, progress } = ports
  const past = (await snapshots.importTasks()).filter(
    ({ source }) => source?.bucket === objects.bucket && source.key === image.key,
  )
  const usable = await firstUsable(past, ports)
  let failed = past.filter((task) => judgeImport(task).is === 'ended').length
  if (usable) progress.note(`Resuming ${usable.id}, which an earlier run started.`)
  for (let tries = 1; ; tries += 1) {
    const adopted = tries === 1 ? usable : null
    const task = adopted ?? (await startImport(image, options, failed, ports))
    const verdict = await progress.task(`Import ${image.key} as a snapshot (${task.id})`, (update) =>
      awaitImport(task, options.timeoutMs, ports, update),
    )
    if (verdict.is === 'completed') return { ...verdict, id: task.id, adopted: adopted !== null }
    if (!verdict.again || tries === MOST_TRIES) {
      throw new ClawctlError('IMPORT_FAILED', `VM Import failed in ${task.id}: ${verdict.reason}.`, {
        hint: verdict.again
          ? 'VM Import itself failed twice: try again later, or use --direct, which does not need it.'
          : 'Check the image; `clawctl image upload --json` shows its format.',
      })
    }
    failed += 1
    progress.note(`VM Import itself failed (${verdict.reason}); retrying once.`)
  }
}

/** A running task, or a completed one whose snapshot still exists. */
async function firstUsable(tasks: readonly ImportTask[], ports: ImageTaskPorts): Promise<ImportTask | null> {
  const active = tasks.find((task) => judgeImport(task).is === 'active')
  if (active) return active
  for (const task of tasks) {
    if (judgeImport(task).is !== 'completed' || task.snapshotId === null) continue
    const { snapshotId } = task
    if (await untilSeen(ports.clock, LOOK_AGAIN_MS, () => ports.snapshots.describe(snapshotId))) return task
  }
  return null
}

/** The same token returns the same task. After a failed task the token must differ. */
function startImport(image: Uploaded, options: ImportOptions, failed: number, ports: ImageTaskPorts) {
  const { key, format, digest, facts } = image
  return ports.snapshots.importFrom({
    key,
    format,
    token: `clawctl-${digest.slice(0, 40)}-${failed + 1}`,
    role: options.role,
    kmsKey: options.kmsKey,
    description: describe(facts, digest),
    tags: { [DIGEST_TAG]: digest, Name: imageTags(facts, digest, key).Name ?? key },
  })
}

type ImportEnd = { is: 'completed'; snapshotId: string } | { is: 'ended'; reason: string; again: boolean }

async function awaitImport(
  task: ImportTask,
  timeoutMs: number,
  { snapshots, clock }: ImageTaskPorts,
  update: (text: string) => void,
): Promise<ImportEnd> {
  const result = await poll<ImportEnd>({ clock, timeoutMs, longestMs: LONGEST_POLL_MS, onWait: update }, async () => {
    const seen = (await snapshots.importTask(task.id)) ?? task
    const verdict = judgeImport(seen)
    if (verdict.is === 'ended') return { done: verdict }
    if (verdict.is === 'completed' && seen.snapshotId !== null) {
      return { done: { is: 'completed', snapshotId: seen.snapshotId } }
    }
    const share = seen.progress === null ? '' : `${seen.progress}% `
    return { wait: `${share}${seen.message ?? seen.status}` }
  })
  if ('done' in result) return result.done
  throw new ClawctlError('TIMED_OUT', `${task.id} did not finish within ${ms(timeoutMs, { long: true })}.`)
}

export type ImportVerdict =
  | { is: 'active' }
  | { is: 'completed' }
  /** `again`: the service itself failed, so a retry may succeed. */
  | { is: 'ended'; reason: string; again: boolean }

/** Messages of errors caused by the image begin with ClientError or match this; all others are VM Import's own. */
const OURS =
  /client\s?error|invalid|unsupported|not supported|validation|corrupt|access|denied|permission|no such|not found/i

/** Reads the status of an import: active, completed, or ended without a snapshot (deleting, deleted, error). */
export function judgeImport(task: { status: string; message: string | null }): ImportVerdict {
  const status = task.status.toLowerCase()
  if (status === 'completed') return { is: 'completed' }
  if (status !== 'deleting' && status !== 'deleted' && status !== 'error') return { is: 'active' }
  const reason = task.message ?? `its status is ${status}, without a reason`
  return { is: 'ended', reason, again: !OURS.test(reason) }
}
