import type { Extent } from '../../domain/images/blocks.js'
import type { ImageFormat } from '../../domain/images/format.js'
import type { Clock, JobReport, ObjectInfo, Progress } from '../ports.js'

/**
 * What image work needs of the world. Calls that reach AWS reject with ClawctlError after their own bounded retries,
 * except those marked as trying once, whose caller is the only retry layer.
 */

/** An image that was opened once: what is read is of that file, whatever becomes of its name. */
export interface ImageFile {
  readonly path: string
  /** Without folders; of a link, the name of what it leads to. */
  readonly name: string
  readonly bytes: number
  readonly allocatedBytes: number
  /** Changes with the content; null where the file changed so lately that another change might not show in it. */
  readonly identity: string | null
  /** Where data may lie, ascending, and the program that found it; without one, the whole file and null. */
  extents(): Promise<{ by: string | null; extents: Extent[] }>
  /** Fills `into` with what begins at `offset`. @throws ClawctlError INVALID_IMAGE where the file ends before that */
  read(offset: number, into: Uint8Array): Promise<void>
  /**
   * Reads these blocks and returns for each (by its place in `indexes`) its SHA-256, or null where it is all zeros. What is
   * behind the end of the file counts as zeros.
   * @throws ClawctlError INVALID_IMAGE, CANCELLED
   */
  digestBlocks(
    indexes: Uint32Array,
    options: { blockBytes: number; stop: AbortSignal; onProgress(blocks: number): void },
  ): Promise<{ digestOf(position: number): Uint8Array | null }>
  /** @throws ClawctlError INVALID_IMAGE where size, times or identity are not those it was opened with */
  assertUnchanged(): Promise<void>
  close(): Promise<void>
}

export interface ImageFiles {
  /** @throws ClawctlError INVALID_IMAGE where it is none that can be read */
  open(path: string): Promise<ImageFile>
  /** The text of a small file, or null where there is none. */
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
  /** Base64, or null where the service keeps none. */
  sha256: string | null
}

/** One attempt of a PUT whose outcome the caller's retry layer looks at. */
export type Attempt<T> =
  | { ok: true; value: T }
  /** Asked to slow down. */
  | { ok: false; kind: 'throttled'; error: Error }
  /** A lost connection, a timeout, a 5xx, a checksum that did not arrive as sent: may go well the next time. */
  | { ok: false; kind: 'passing'; error: Error }
  /** What it is sent to does not exist: for up to two minutes after its creation that passes. */
  | { ok: false; kind: 'unknown'; error: Error }

/** Images, manifests and their uploads in the fleet's bucket. */
export interface ImageObjects {
  readonly bucket: string
  head(key: string): Promise<StoredImage | null>
  list(prefix: string): Promise<ObjectInfo[]>
  /** A whole, small object. */
  get(key: string): Promise<Uint8Array | null>
  put(key: string, bytes: Uint8Array): Promise<void>
  /** It is not an error when there is none. */
  delete(key: string): Promise<void>
  /** Multipart uploads under way whose key begins with `prefix`, oldest first. */
  openUploads(prefix: string): Promise<OpenUpload[]>
  beginUpload(key: string, metadata: Record<string, string>): Promise<string>
  /** Ascending. Null where the upload is no more. */
  sentParts(upload: { key: string; uploadId: string }): Promise<SentPart[] | null>
  /**
   * Tries once. `sha256` in base64; the body is asked for when it is sent.
   * @throws ClawctlError where another attempt can't help
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
   * The part as a copy of the first bytes of another object, which the service makes by itself; null where it does not, or
   * not so that the checksum proves it: then the part has to be sent.
   */
  copyPart(part: {
    key: string
    uploadId: string
    number: number
    bytes: number
    sha256: string
    from: string
  }): Promise<SentPart | null>
  /** False where an object of that key came into being meanwhile: it stays as it is. */
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
  /** Null where there is no such snapshot. */
  describe(id: string): Promise<Snapshot | null>
  /** Our own snapshots with all of these tags, newest first. */
  find(tags: Tags): Promise<Snapshot[]>
  tag(id: string, tags: Tags): Promise<void>
  /** It is not an error when there is none. */
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
  /** Tries once. @throws ClawctlError where another attempt can't help */
  putBlock(block: { snapshotId: string; index: number; data: Uint8Array; sha256: Uint8Array }): Promise<Attempt<null>>
  /**
   * Seals it; one that takes no blocks any more is left as it is. `checksum`: SHA-256 over the digests of the blocks
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
  /** Our own images, whatever their state. */
  find(by: { name: string } | { tags: Tags }): Promise<RegisteredImage[]>
  /** Registers it, hvm with ENA, IMDSv2 and a gp3 root on /dev/xvda; its id. */
  register(image: NewImage): Promise<string>
  tag(id: string, tags: Tags): Promise<void>
  deregister(id: string): Promise<void>
}

/** What was done of a direct import, on this machine: append-only, one line a fact. */
export interface Journal {
  /** The lines that are whole. */
  lines(): Promise<string[]>
  /** Resolves when the line is with the system: a killed process does not lose it. */
  append(line: string): Promise<void>
  clear(): Promise<void>
  /** False where another process holds it. */
  lock(): Promise<boolean>
  /** The process that holds the lock, in words. */
  holder(): Promise<string>
  unlock(): Promise<void>
}

/** The block manifest of the image that was read last, on this machine. */
export interface ScanRecord {
  /** Null where another file, or none, was read last. */
  read(identity: string): Promise<Uint8Array | null>
  write(identity: string, manifest: Uint8Array): Promise<void>
}

/** Everything image work may need; a use-case picks what it uses. */
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
