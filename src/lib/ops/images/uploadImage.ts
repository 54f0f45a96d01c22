import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { MAX_UPLOAD_BYTES, USUAL_PART_BYTES } from '../../domain/images/blocks.js'
import type { ImageFacts } from '../../domain/images/build.js'
import { IMAGE_PREFIX, imageKey, zerosKey } from '../../domain/images/names.js'
import { everySecond, progressText, sizeText } from '../../domain/images/progress.js'
import { type DigestedPart, digestFile, partBody } from './digestFile.js'
import { type ImageSource, invalid, openImage } from './imageSource.js'
import type { ImageFile, ImagePorts, OpenUpload, SentPart } from './ports.js'
import { sendAll } from './sendAll.js'

export interface UploadedImage {
  key: string
  bucket: string
  digest: string
  format: string
  bytes: number
  /** The object existed already. */
  existed: boolean
  parts: {
    total: number
    sent: number
    /** Of holes, which S3 copied from an object of zeros. */
    copied: number
    resumed: number
    retried: number
  }
  bytesSent: number
  extentsBy: string | null
  seconds: number
}

type UploadPorts = Pick<ImagePorts, 'files' | 'digests' | 'objects' | 'clock' | 'progress' | 'report' | 'stop'>

/** Concurrent parts: enough to use a link to S3 fully, with some 1 MiB of memory each. */
const PART_CONCURRENCY = 16

/**
 * Uploads an image under a name with its digest. Parts that an earlier run sent are kept if they match
 * this file; an existing object is not changed.
 */
export async function uploadImage(
  asked: { file: string | undefined; concurrency: number | undefined; force: boolean },
  ports: UploadPorts,
): Promise<UploadedImage> {
  const source = await openImage(ports.files, asked.file, { force: asked.force, progress: ports.progress })
  try {
    return await upload(source, asked.concurrency ?? PART_CONCURRENCY, ports).catch((error) => {
      const failure = asClawctlError(error)
      if (failure.code !== 'CANCELLED' || failure.hint) throw failure
      throw withPartial(failure, {}, 'Run the same command again: it resumes.')
    })
  } finally {
    await source.file.close()
  }
}

async function upload(source: ImageSource, concurrency: number, ports: UploadPorts): Promise<UploadedImage> {
  const { file, format, facts, info } = source
  const { objects, progress, clock } = ports
  const began = clock.now().getTime()
  if (file.bytes > MAX_UPLOAD_BYTES) {
    throw invalid(`${file.path} exceeds S3's limit of 10,000 parts (48.8 TiB).`, 'Build a smaller image.')
  }
  const { sha256, parts, extentsBy } = await progress.task(`Read ${file.name}, ${sizeText(file.bytes)}`, (update) =>
    digestFile(file, ports, update),
  )
  if (info && info.sha256 !== sha256) {
    throw new ClawctlError('INVALID_IMAGE', `${file.path} is not the image that image.json beside it describes.`, {
      hint: 'Build the image again, or move the file to a folder of its own.',
      details: [`SHA-256 ${sha256}, image.json has ${info.sha256}`],
    })
  }
  const key = imageKey(facts.name, sha256, format)
  const result = (change: Partial<UploadedImage>): UploadedImage => ({
    key,
    bucket: objects.bucket,
    digest: sha256,
    format,
    bytes: file.bytes,
    existed: false,
    parts: { total: parts.length, sent: 0, copied: 0, resumed: 0, retried: 0 },
    bytesSent: 0,
    extentsBy,
    seconds: (clock.now().getTime() - began) / 1000,
    ...change,
  })
  const reported = async (uploaded: UploadedImage) => {
    await ports.report.output('key', uploaded.key)
    await ports.report.output('digest', uploaded.digest)
    return uploaded
  }

  if (await isThere(ports, key, file, sha256)) return reported(result({ existed: true }))
  const resumed = await findResumable(ports, key, file, parts)
  const begun = resumed ?? {
    upload: { key, uploadId: await objects.beginUpload(key, metadataOf(facts, source, sha256)) },
    sent: [],
  }
  const { upload: target } = begun
  const sent = new Map<number, SentPart>(begun.sent.map((part) => [part.number, part]))
  const missing = parts.filter((part) => !sent.has(part.number))
  const bytesOf = (some: readonly DigestedPart[]) => some.reduce((sum, part) => sum + part.bytes, 0)
  let bytesSent = 0
  let copied = 0
  let retried = 0
  try {
    if (resumed) progress.note(`Resuming: ${sent.size} of ${parts.length} parts were sent by an earlier run.`)
    await progress.task(`Upload ${sizeText(bytesOf(missing))} to ${objects.bucket}/${key}`, async (update) => {
      const started = clock.now().getTime()
      const progressed = everySecond(clock, update)
      const holes = new Set(missing.filter(({ zeros, bytes }) => zeros && bytes <= USUAL_PART_BYTES))
      let zerosFrom = await zerosIn(ports, holes.size)
      const done = (part: SentPart) => {
        sent.set(part.number, part)
        progressed(() => {
          const bytes = bytesOf(missing.filter(({ number }) => sent.has(number)))
          return progressText(bytes, bytesOf(missing), clock.now().getTime() - started)
        })
      }
      const send = async (part: DigestedPart) => {
        const { number, bytes, sha256 } = part
        if (zerosFrom !== null && holes.has(part)) {
          const outcome = await objects.copyPart({ ...target, number, bytes, sha256, from: zerosFrom })
          if (outcome?.ok) {
            copied += 1
            done(outcome.value)
          }
          if (outcome !== null) return outcome
          zerosFrom = null
        }
        const body = () => partBody(file, part)
        const outcome = await objects.sendPart({ ...target, number, bytes, sha256, body })
        if (outcome.ok) {
          bytesSent += bytes
          done(outcome.value)
        } else {
          // S3 refuses the parts of a file that changed: a retry does not help.
          await file.assertUnchanged()
        }
        return outcome
      }
      const nameOf = ({ number }: DigestedPart) => `part ${number}`
      ;({ retried } = await sendAll(missing, send, { concurrency, clock, stop: ports.stop, nameOf }))
      await file.assertUnchanged()
    })
    const all = parts.map((part) => sent.get(part.number) as SentPart)
    const created = await objects.completeUpload(target, all)
    if (!created && !(await isThere(ports, key, file, sha256))) {
      throw new ClawctlError('UPSTREAM', `S3 did not complete the upload of ${key}.`, {
        hint: 'Run the command again.',
      })
    }
  } catch (error) {
    // Another run completed the same upload first.
    if (isGone(error) && (await isThere(ports, key, file, sha256)))
      return reported(result({ existed: true, bytesSent }))
    throw await unfinished(asClawctlError(error), ports, target, { sent: sent.size, total: parts.length })
  }
  const resumedParts = parts.length - missing.length
  const counts = { total: parts.length, sent: missing.length - copied, copied, resumed: resumedParts, retried }
  return reported(result({ parts: counts, bytesSent }))
}

/** @throws ClawctlError INVALID_IMAGE if another object has the name */
async function isThere(ports: UploadPorts, key: string, file: ImageFile, sha256: string): Promise<boolean> {
  const there = await ports.objects.head(key)
  if (!there) return false
  if (there.size === file.bytes && there.metadata.sha256 === sha256) return true
  throw new ClawctlError('INVALID_IMAGE', `${key} in the bucket is not this image.`, {
    hint: `Check it, and delete it if it is not needed: aws s3 rm s3://${ports.objects.bucket}/${key}.`,
  })
}

/** The key of an object of zeros to copy holes from; null if there are too few. */
async function zerosIn({ objects }: UploadPorts, holes: number): Promise<string | null> {
  if (holes < 2) return null
  const key = zerosKey(USUAL_PART_BYTES)
  const there = await objects.head(key)
  if (there?.size !== USUAL_PART_BYTES) await objects.put(key, new Uint8Array(USUAL_PART_BYTES))
  return key
}

/** Among the unfinished uploads of this key, the one with the most matching parts. */
async function findResumable(
  ports: UploadPorts,
  key: string,
  file: ImageFile,
  parts: readonly DigestedPart[],
): Promise<{ upload: OpenUpload; sent: SentPart[] } | null> {
  const open = (await ports.objects.openUploads(key)).filter((upload) => upload.key === key)
  const found: { upload: OpenUpload; sent: SentPart[] }[] = []
  for (const upload of open) {
    const listed = await ports.objects.sentParts(upload)
    if (listed === null) continue
    const sent: SentPart[] = []
    for (const one of listed) {
      const part = parts[one.number - 1]
      if (part && part.bytes === one.bytes && (await isSame(ports, file, part, one))) sent.push(one)
    }
    found.push({ upload, sent })
  }
  return found.sort((a, b) => b.sent.length - a.sent.length)[0] ?? null
}

/** Compares by SHA-256; without one, by the entity tag, which is the MD5 unless KMS encrypts. */
async function isSame(ports: UploadPorts, file: ImageFile, part: DigestedPart, sent: SentPart): Promise<boolean> {
  if (sent.sha256 !== null) return sent.sha256 === part.sha256
  const md5 = ports.digests.running('md5')
  for await (const piece of partBody(file, part)) md5.update(piece)
  return sent.etag.replaceAll('"', '') === md5.hex()
}

const isGone = (error: unknown) => ((error as Error).cause as Error | undefined)?.name === 'NoSuchUpload'

/** Aborts an upload that can't succeed; otherwise the parts stay for the next run. */
async function unfinished(
  failure: ClawctlError,
  ports: UploadPorts,
  upload: { key: string; uploadId: string },
  parts: { sent: number; total: number },
): Promise<ClawctlError> {
  const partial = { upload: { key: upload.key, parts } }
  if (failure.code === 'INVALID_IMAGE') {
    await ports.objects.abortUpload(upload).catch(() => {})
    return withPartial(failure, partial)
  }
  const hint = `${parts.sent} of ${parts.total} parts are in the bucket: run the same command again to send the rest, or with --abort to drop them.`
  return withPartial(failure, partial, [failure.hint, hint].filter(Boolean).join(' '))
}

/** Metadata for `image import`, for a job that has only the bucket. */
function metadataOf(facts: ImageFacts, { format }: ImageSource, sha256: string): Record<string, string> {
  return {
    sha256,
    format,
    name: facts.name,
    bootmode: facts.bootMode,
    architecture: facts.architecture,
    ...(facts.revision ? { revision: facts.revision } : {}),
    ...(facts.toplevel ? { toplevel: facts.toplevel } : {}),
  }
}

/** Aborts unfinished uploads and drops their parts: of images of that name, or of all. */
export async function abortUploads(name: string | null, ports: Pick<ImagePorts, 'objects'>): Promise<OpenUpload[]> {
  const open = await ports.objects.openUploads(name === null ? IMAGE_PREFIX : `${IMAGE_PREFIX}${name}-`)
  for (const upload of open) await ports.objects.abortUpload(upload)
  return open
}
