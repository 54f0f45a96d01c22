import type { Extent } from '../../domain/images/blocks.js'
import type { ImageFormat } from '../../domain/images/format.js'
import type { Clock, JobReport, ObjectInfo, Progress } from '../ports.js'

/**
 * The ports of the image use-cases. Calls that reach AWS reject with ClawctlError after their own bounded retries,
 * except those marked "tries once", whose caller is the only retry layer.
 */

/** An opened image file: reads stay on that file, even if its path is replaced. */
export interface ImageFile {
  readonly path: string
  /** File name without folders; for a link, that of its target. */
  readonly name: string
  readonly bytes: number
  readonly allocatedBytes: number
  /** Changes with the content; null if the file changed so recently that a further change might not show. */
  readonly identity: string | null
  /** Extents that may hold data, ascending, and the program that found them; without one, the whole file and null. */
  extents(): Promise<{ by: string | null; extents: Extent[] }>
  /** Fills `into` from `offset`. @throws ClawctlError INVALID_IMAGE if the file ends before */
  read(offset: number, into: Uint8Array): Promise<void>
  /**
   * Reads these blocks and returns for each (by its place in `indexes`) its SHA-256, or null if it is all zeros. Bytes
   * beyond the end of the file count as zeros.
   * @throws ClawctlError INVALID_IMAGE, CANCELLED
   */
  digestBlocks(
    indexes: Uint32Array,
    options: { blockBytes: number; stop: AbortSignal; onProgress(blocks: number): void },
  ): Promise<{ digestOf(position: number): Uint8Array | null }>
  /** @throws ClawctlError INVALID_IMAGE if size, times or identity changed since it was opened */
  assertUnchanged(): Promise<void>
  close(): Promise<void>
}

export interface ImageFiles {
  /** @throws ClawctlError INVALID_IMAGE if it can't be read */
  open(path: string): Promise<ImageFile>
  /** The text of a small file, or null if it does not exist. */
  text(path: string): Promise<string | null>
}

export interface RunningDigest {
  update(bytes: Uint8Array): void
  /** Lowercase hexadecimal. */
  hex(): string
}

export interface Digests {
  /** SHA-256. */
  of(bytes: Uint8Array): Uint8Array
  /** SHA-256; MD5 only to compare with entity tags. */
  running(algorithm?: 'sha256' | 'md5'): RunningDigest
}

export interface StoredImage extends ObjectInfo {
  /** User metadata, names in lowercase. */
  metadata: Record<string, string>
}

export interface OpenUpload {
  key: string
  uploadId: string
  startedAt: Date
}

export interface SentPart {
  number: number
  bytes: number
  etag: string
  /** Base64, or null if the service has none. */
  sha256: string | null
}

/** The outcome of one PUT attempt, for the caller's retry layer. */
export type Attempt<T> =
  | { ok: true; value: T }
  /** The service throttles. */
  | { ok: false; kind: 'throttled'; error: Error }
  /** A lost connection, a timeout, a 5xx, a wrong checksum: a retry may succeed. */
  | { ok: false; kind: 'passing'; error: Error }
  /** The target is unknown. For up to two minutes after its creation, a retry may succeed. */
  | { ok: false; kind: 'unknown'; error: Error }

/** Images, manifests and their uploads in the fleet's bucket. */
export interface ImageObjects {
  readonly bucket: string
  head(key: string): Promise<StoredImage | null>
  list(prefix: string): Promise<ObjectInfo[]>
  get(key: string): Promise<Uint8Array | null>
  /** Writes a small object. */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Not an error if it does not exist. */
  delete(key: string): Promise<void>
  /** Unfinished multipart uploads whose key begins with `prefix`, oldest first. */
  openUploads(prefix: string): Promise<OpenUpload[]>
  beginUpload(key: string, metadata: Record<string, string>): Promise<string>
  /** Ascending. Null if the upload no longer exists. */
  sentParts(upload: { key: string; uploadId: string }): Promise<SentPart[] | null>
  /**
   * Tries once. `sha256` in base64; the body is read when it is sent.
   * @throws ClawctlError if a retry can't help
   */
  sendPart(part: {
    key: string
    uploadId: string
    number: number
    bytes: number
    sha256: string
    body(): AsyncIterable<Uint8Array>
  }): Promise<Attempt<SentPart>>
  /**
   * Copies the first bytes of another object as the part, inside the service. Tries once; null if the service
   * refuses, or if the checksum of the copy can't be verified: then the part has to be sent.
   */
  copyPart(part: {
    key: string
    uploadId: string
    number: number
    bytes: number
    sha256: string
    from: string
  }): Promise<Attempt<SentPart> | null>
  /** False if an object with that key was created meanwhile; it is not replaced. */
  completeUpload(upload: { key: string; uploadId: string }, parts: readonly SentPart[]): Promise<boolean>
  abortUpload(upload: { key: string; uploadId: string }): Promise<void>
}

export type Tags = Readonly<Record<string, string>>

export interface Snapshot {
  id: string
  state: 'pending' | 'completed' | 'error' | 'recoverable' | 'recovering'
  sizeGib: number
  encrypted: boolean
  kmsKey: string | null
  startedAt: Date
  /** Such as `42%`. */
  progress: string
  message: string | null
  tags: Record<string, string>
}

export interface ImportTask {
  id: string
  /** active, completed, deleting, deleted, error */
  status: string
  progress: number | null
  message: string | null
  snapshotId: string | null
  source: { bucket: string; key: string } | null
  tags: Record<string, string>
}

export interface Snapshots {
  /** Null if there is no such snapshot. */
  describe(id: string): Promise<Snapshot | null>
  /** The account's snapshots with all of these tags, newest first. */
  find(tags: Tags): Promise<Snapshot[]>
  tag(id: string, tags: Tags): Promise<void>
  /** Not an error if it does not exist. */
  delete(id: string): Promise<void>
  /** Opens a snapshot to be written block by block; the same token opens the same one. */
  start(request: {
    sizeGib: number
    timeoutMinutes: number
    token: string
    parent: string | null
    kmsKey: string | null
    description: string
    tags: Tags
  }): Promise<{ id: string; encrypted: boolean }>
  /** Tries once. @throws ClawctlError if a retry can't help */
  putBlock(block: { snapshotId: string; index: number; data: Uint8Array; sha256: Uint8Array }): Promise<Attempt<null>>
  /**
   * Completes it; a snapshot that is no longer pending is left unchanged. `checksum`: SHA-256 over the digests of the blocks
   * written, in the order of their index.
   */
  complete(id: string, written: { blocks: number; checksum: Uint8Array }): Promise<void>
  importFrom(request: {
    key: string
    format: ImageFormat
    token: string
    role: string | null
    kmsKey: string | null
    description: string
    tags: Tags
  }): Promise<ImportTask>
  importTask(id: string): Promise<ImportTask | null>
  /** All tasks that EC2 still shows. */
  importTasks(): Promise<ImportTask[]>
}

export interface RegisteredImage {
  id: string
  name: string
  /** pending, available, failed, … */
  state: string
  stateReason: string | null
  createdAt: string
  snapshotId: string | null
  sizeGib: number | null
  tags: Record<string, string>
}

export interface NewImage {
  name: string
  description: string
  snapshotId: string
  architecture: 'x86_64' | 'arm64'
  bootMode: 'legacy-bios' | 'uefi' | 'uefi-preferred'
  tags: Tags
}

export interface Images {
  describe(id: string): Promise<RegisteredImage | null>
  /** The account's images, in any state. */
  find(by: { name: string } | { tags: Tags }): Promise<RegisteredImage[]>
  /** Registers an AMI: hvm with ENA, IMDSv2 and a gp3 root on /dev/xvda. Returns its id. */
  register(image: NewImage): Promise<string>
  tag(id: string, tags: Tags): Promise<void>
  deregister(id: string): Promise<void>
}

/** Journal of a direct import on this machine: append-only, one fact per line. */
export interface Journal {
  /** The complete lines. */
  lines(): Promise<string[]>
  /** Resolves when the operating system has the line: a killed process does not lose it. */
  append(line: string): Promise<void>
  clear(): Promise<void>
  /** False if another process holds it. */
  lock(): Promise<boolean>
  /** Describes the process that holds the lock. */
  holder(): Promise<string>
  unlock(): Promise<void>
}

/** Cache of the block manifest of the image read last on this machine. */
export interface ScanRecord {
  /** Null if another file was read last, or none. */
  read(identity: string): Promise<Uint8Array | null>
  write(identity: string, manifest: Uint8Array): Promise<void>
}

/** All ports of the image use-cases; each picks the ones it uses. */
export interface ImagePorts {
  files: ImageFiles
  digests: Digests
  objects: ImageObjects
  snapshots: Snapshots
  images: Images
  journal(name: string): Journal
  scans: ScanRecord
  clock: Clock
  progress: Progress
  report: JobReport
  /** Aborted by the first Ctrl-C. */
  stop: AbortSignal
}

export type ImageTaskPorts = Omit<ImagePorts, 'digests' | 'journal' | 'scans'>
