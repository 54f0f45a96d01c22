import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ChecksumName, ChecksumType } from './checksums.js'
import { Content, ContentWriter } from './content.js'
import { AwsError } from './error.js'

/** Properties of the object, from its upload. */
export interface ObjectProperties {
  contentType: string
  metadata: Map<string, string>
  sse: { algorithm: string; kmsKeyId: string | null }
}

export interface StoredObject extends ObjectProperties {
  content: Content
  readonly body: Buffer
  /** With quotes, as in the header. */
  etag: string
  lastModified: Date
  checksums: Map<ChecksumName, string>
  checksumType: ChecksumType
}

export interface Conditions {
  /** The object must not exist yet. */
  ifNoneMatch?: '*'
  /** The object must have this entity tag. */
  ifMatch?: string
}

export interface PutOptions extends Conditions {
  contentType?: string
  metadata?: Iterable<[string, string]>
  sse?: ObjectProperties['sse']
  checksums?: Iterable<[ChecksumName, string]>
  checksumType?: ChecksumType
  /** Without its quotes. Default: the MD5 of the content. */
  etag?: string
}

export interface Part {
  content: Content
  /** With its quotes. */
  etag: string
  lastModified: Date
  checksums: Map<ChecksumName, string>
}

/** A multipart upload that is neither complete nor aborted. */
export interface MultipartUpload extends ObjectProperties {
  id: string
  bucket: string
  key: string
  initiated: Date
  algorithm: ChecksumName | null
  checksumType: ChecksumType
  parts: Map<number, Part>
}

/** The buckets with their objects, and the unfinished uploads. Refuses with AwsError, with S3's codes. */
export class ObjectStorage {
  readonly buckets = new Map<string, Map<string, StoredObject>>()
  readonly uploads = new Map<string, MultipartUpload>()
  readonly folder: string | null
  readonly #now: () => Date
  #files = 0

  constructor(options: { folder?: string; now?: () => Date }) {
    this.folder = options.folder ?? null
    this.#now = options.now ?? (() => new Date())
  }

  now(): Date {
    return this.#now()
  }

  /** A writer for one upload. */
  writer(): ContentWriter {
    return new ContentWriter(() => this.newFile())
  }

  /** The name of a new file, or null if everything stays in memory. */
  protected newFile(): string | null {
    if (this.folder === null) return null
    mkdirSync(this.folder, { recursive: true })
    this.#files += 1
    return join(this.folder, String(this.#files))
  }

  /** Does nothing if the bucket exists. */
  createBucket(name: string): void {
    if (!this.buckets.has(name)) this.buckets.set(name, new Map())
  }

  /** @throws AwsError NoSuchBucket */
  bucket(name: string): Map<string, StoredObject> {
    const bucket = this.buckets.get(name)
    if (!bucket) throw new AwsError('NoSuchBucket', 404, 'The specified bucket does not exist')
    return bucket
  }

  /** @throws AwsError NoSuchBucket; PreconditionFailed, NoSuchKey if a condition does not hold */
  putObject(bucket: string, key: string, body: Content | Buffer | string, options: PutOptions = {}): StoredObject {
    const objects = this.bucket(bucket)
    this.mustHold(bucket, key, options)
    const content = body instanceof Content ? body : Content.of(body)
    const etag = options.etag ?? createHash('md5').update(content.bytes()).digest('hex')
    const object: StoredObject = {
      content,
      get body() {
        return this.content.bytes()
      },
      etag: `"${etag}"`,
      lastModified: this.now(),
      contentType: options.contentType ?? 'binary/octet-stream',
      metadata: new Map(options.metadata),
      sse: options.sse ?? { algorithm: 'AES256', kmsKeyId: null },
      checksums: new Map(options.checksums),
      checksumType: options.checksumType ?? 'FULL_OBJECT',
    }
    void objects.get(key)?.content.discard()
    objects.set(key, object)
    return object
  }

  /** @throws AwsError PreconditionFailed, NoSuchKey */
  mustHold(bucket: string, key: string, { ifNoneMatch, ifMatch }: Conditions): void {
    const existing = this.bucket(bucket).get(key)
    if (ifMatch !== undefined && !existing) throw new AwsError('NoSuchKey', 404, 'The specified key does not exist.')
    if ((ifNoneMatch && existing) || (ifMatch !== undefined && !etagMatches(ifMatch, existing?.etag))) {
      throw preconditionFailed()
    }
  }

  /** @throws AwsError NoSuchBucket */
  getObject(bucket: string, key: string): StoredObject | null {
    return this.bucket(bucket).get(key) ?? null
  }

  /** @throws AwsError NoSuchBucket */
  async deleteObject(bucket: string, key: string): Promise<void> {
    const objects = this.bucket(bucket)
    const object = objects.get(key)
    objects.delete(key)
    await object?.content.discard()
  }

  /** @throws AwsError NoSuchBucket */
  startUpload(upload: Omit<MultipartUpload, 'id' | 'initiated' | 'parts'>): MultipartUpload {
    this.bucket(upload.bucket)
    const started = { ...upload, id: randomUUID().replaceAll('-', ''), initiated: this.now(), parts: new Map() }
    this.uploads.set(started.id, started)
    return started
  }

  /** @throws AwsError NoSuchBucket, NoSuchUpload */
  upload(bucket: string, key: string, id: string): MultipartUpload {
    this.bucket(bucket)
    const upload = this.uploads.get(id)
    if (upload?.bucket === bucket && upload.key === key) return upload
    const message =
      'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.'
    throw new AwsError('NoSuchUpload', 404, message)
  }

  /** Removes an upload, and its parts that are not in `kept`. */
  async endUpload(upload: MultipartUpload, kept: ReadonlySet<number> = new Set()): Promise<void> {
    this.uploads.delete(upload.id)
    await Promise.all(
      [...upload.parts].map(([number, part]) => (kept.has(number) ? undefined : part.content.discard())),
    )
  }
}

/** Whether an If-Match or If-None-Match header names this entity tag. */
export function etagMatches(header: string, etag: string | undefined): boolean {
  if (etag === undefined) return false
  const bare = (tag: string) => tag.trim().replace(/^W\//, '').replace(/^"|"$/g, '')
  return header.split(',').some((tag) => tag.trim() === '*' || bare(tag) === bare(etag))
}

export function preconditionFailed(): AwsError {
  return new AwsError('PreconditionFailed', 412, 'At least one of the pre-conditions you specified did not hold')
}
