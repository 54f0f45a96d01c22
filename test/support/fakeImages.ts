import { digests } from '../../src/lib/adapters/images/imageFile.js'
import { ClawctlError } from '../../src/lib/domain/errors.js'
import { BLOCK_BYTES } from '../../src/lib/domain/images/blocks.js'
import type {
  Attempt,
  ImagePorts,
  ImportTask,
  Journal,
  RegisteredImage,
  SentPart,
  Snapshot,
  Tags,
} from '../../src/lib/ops/images/ports.js'
import { digestOfBlock, FakeDisk, sha256 } from './fakeDisk.js'
import { FakeClock, FakeProgress, FakeReport, START } from './fakes.js'

export class Killed extends Error {}

interface FakeSnapshot extends Snapshot {
  parent: FakeSnapshot | null
  blocks: Map<number, { value: number; digest: Buffer }>
  /** Describes it takes until a sealed one is completed. */
  sealing: number | null
}

interface FakeUpload {
  key: string
  uploadId: string
  metadata: Record<string, string>
  parts: Map<number, SentPart & { data: Buffer }>
}

export type Fault = 'ok' | 'throttle' | 'fail' | 'kill' | 'corrupt'

/** EBS, EC2 and S3 as image work sees them, as strict as they are; and a process that can be killed. */
export class FakeImageCloud {
  readonly snapshots = new Map<string, FakeSnapshot>()
  readonly images = new Map<string, RegisteredImage & { describes: number }>()
  readonly objects = new Map<string, { bytes: Uint8Array; metadata: Record<string, string>; modifiedAt: Date }>()
  readonly uploads = new Map<string, FakeUpload>()
  readonly tasks = new Map<string, ImportTask & { token: string }>()
  scan: { identity: string; manifest: Uint8Array } | null = null
  readonly journals = new Map<string, string[]>()
  readonly files = new Map<string, FakeDisk | string>()
  readonly progress = new FakeProgress()
  readonly report = new FakeReport()
  /** What was done, in its order. */
  readonly log: string[] = []
  encryptsByDefault = false
  /** How many calls that name a new snapshot or AMI are answered as if it did not exist. */
  unknownFor = 0
  readonly #young = new Map<string, number>()
  /** Whether S3 copies parts. */
  copies = true
  /** Each PUT, by its number from 1. */
  onPut: (nth: number) => Fault = () => 'ok'
  /** How a task goes on when it is looked at. */
  onImport: (task: ImportTask, look: number) => Partial<ImportTask> = () => ({ status: 'completed' })
  stop = new AbortController()
  readonly clock = new FakeClock()
  #puts = 0
  #ids = 0
  #dead = false

  /** Another process, after the last one ended or was killed. */
  restart(): void {
    this.#dead = false
    this.stop = new AbortController()
  }

  kill(): void {
    this.#dead = true
  }

  ports(): ImagePorts {
    const live = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (object, name) => {
          const value = Reflect.get(object, name)
          if (typeof value !== 'function') return value
          return (...args: unknown[]) => {
            if (this.#dead) return Promise.reject(new Killed())
            return value.apply(object, args)
          }
        },
      })
    return {
      files: live({
        open: async (path: string) => {
          const file = this.files.get(path)
          if (file instanceof FakeDisk) return file.open()
          throw new ClawctlError('INVALID_IMAGE', `${path} does not exist.`)
        },
        text: async (path: string) => {
          const file = this.files.get(path)
          return typeof file === 'string' ? file : null
        },
      }),
      digests,
      objects: live(this.#objectPort()),
      snapshots: live(this.#snapshotPort()),
      images: live(this.#imagePort()),
      journal: (name) => live(this.#journalPort(name)),
      scans: live({
        read: async (identity: string) => (this.scan?.identity === identity ? this.scan.manifest : null),
        write: async (identity: string, manifest: Uint8Array) => {
          this.scan = { identity, manifest }
        },
      }),
      clock: this.clock,
      progress: this.progress,
      report: this.report,
      stop: this.stop.signal,
    }
  }

  /** What reads as the blocks of a snapshot, those of its parents included. */
  volumeOf(id: string, blocks: number): (number | 'noise')[] {
    return Array.from({ length: blocks }, (_, index) => {
      for (let at: FakeSnapshot | null = this.snapshots.get(id) ?? null; at; at = at.parent) {
        const block = at.blocks.get(index)
        if (block) return block.value
        if (!at.parent && at.encrypted) return 'noise'
      }
      return 0
    })
  }

  ready(): RegisteredImage[] {
    return [...this.images.values()].filter(({ tags }) => tags.clawdinator === 'true')
  }

  #id(prefix: string): string {
    this.#ids += 1
    const id = `${prefix}-${String(this.#ids).padStart(17, '0')}`
    this.#young.set(id, this.unknownFor)
    return id
  }

  /** Has so many calls that name it answered as if it did not exist. */
  hide(id: string, calls: number): void {
    this.#young.set(id, calls)
  }

  /** Whether the service does not know it yet. Uses up one such answer. */
  #isUnknown(id: string): boolean {
    const left = this.#young.get(id) ?? 0
    this.#young.set(id, left - 1)
    return left > 0
  }

  #mustBeKnown(id: string, name: string): void {
    if (!this.#isUnknown(id)) return
    const cause = Object.assign(new Error(`${id} does not exist`), { name })
    throw new ClawctlError('UPSTREAM', `${id} failed.`, { cause })
  }

  /** What happens to a PUT, before it is carried out or instead of it. */
  #fault(): Attempt<never> | 'ok' | 'corrupt' {
    this.#puts += 1
    const fault = this.onPut(this.#puts)
    if (fault === 'kill') this.kill()
    if (this.#dead) throw new Killed()
    if (fault === 'throttle') return { ok: false, kind: 'throttled', error: new Error('slow down') }
    if (fault === 'fail') return { ok: false, kind: 'passing', error: new Error('connection reset') }
    return fault as 'ok' | 'corrupt'
  }

  #snapshotPort(): ImagePorts['snapshots'] {
    const tokens = new Map<string, string>()
    const must = (id: string) => {
      const snapshot = this.snapshots.get(id)
      if (!snapshot) throw new ClawctlError('UPSTREAM', `There is no ${id}.`)
      return snapshot
    }
    return {
      describe: async (id) => {
        if (this.#isUnknown(id)) return null
        const snapshot = this.snapshots.get(id)
        if (snapshot && snapshot.sealing !== null && snapshot.sealing-- <= 0) snapshot.state = 'completed'
        return snapshot ?? null
      },
      find: async (tags) =>
        [...this.snapshots.values()]
          .filter((snapshot) => Object.entries(tags).every(([name, value]) => snapshot.tags[name] === value))
          .reverse(),
      tag: async (id, tags) => {
        this.#mustBeKnown(id, 'InvalidSnapshot.NotFound')
        Object.assign(must(id).tags, tags)
      },
      delete: async (id) => {
        this.log.push(`delete ${id}`)
        this.snapshots.delete(id)
      },
      start: async ({ sizeGib, token, parent, kmsKey, tags }) => {
        const parentSnapshot = parent === null ? null : must(parent)
        if (parentSnapshot && this.encryptsByDefault && !parentSnapshot.encrypted) {
          const cause = Object.assign(new Error(), { name: 'ValidationException' })
          throw new ClawctlError('UPSTREAM', 'EBS StartSnapshot failed.', { cause })
        }
        let id = tokens.get(token)
        if (!id) {
          id = this.#id('snap')
          const encrypted = parentSnapshot ? parentSnapshot.encrypted : this.encryptsByDefault || kmsKey !== null
          const made: FakeSnapshot = {
            id,
            state: 'pending',
            sizeGib,
            encrypted,
            kmsKey,
            startedAt: new Date(START),
            progress: '0%',
            message: null,
            tags: { ...tags },
            parent: parentSnapshot,
            blocks: new Map(),
            sealing: null,
          }
          this.snapshots.set(id, made)
          tokens.set(token, id)
          this.log.push(`start ${id}`)
        }
        return { id, encrypted: must(id).encrypted }
      },
      putBlock: async ({ snapshotId, index, data, sha256: digest }) => {
        const fault = this.#fault()
        if (typeof fault === 'object') return fault
        if (this.#isUnknown(snapshotId)) return { ok: false, kind: 'unknown', error: new Error('does not exist') }
        // Before the answer: what it holds then is what counts.
        await Promise.resolve()
        const value = (data[0] ?? 0) ^ (fault === 'corrupt' ? 1 : 0)
        if (data.at(-1) !== value || data.length !== BLOCK_BYTES || !digestOfBlock(value).equals(digest)) {
          return { ok: false, kind: 'passing', error: new Error('checksum') }
        }
        const snapshot = must(snapshotId)
        if (snapshot.state !== 'pending') throw new ClawctlError('UPSTREAM', `${snapshotId} takes no blocks.`)
        this.log.push(`put ${index}`)
        snapshot.blocks.set(index, { value, digest: Buffer.from(digest) })
        return { ok: true, value: null }
      },
      complete: async (id, { blocks, checksum }) => {
        const snapshot = must(id)
        const sorted = [...snapshot.blocks].sort(([a], [b]) => a - b)
        const expected = sha256(Buffer.concat(sorted.map(([, block]) => block.digest)))
        if (blocks !== sorted.length || !expected.equals(checksum)) {
          throw new ClawctlError('UPSTREAM', `${blocks} blocks were promised, or another checksum.`)
        }
        snapshot.sealing = 1
        this.log.push(`complete ${id}`)
      },
      importFrom: async ({ key, token, tags }) => {
        const known = [...this.tasks.values()].find((task) => task.token === token)
        if (known) return known
        const source = { bucket: 'bucket', key }
        const base = {
          id: this.#id('import-snap'),
          status: 'active',
          progress: 1,
          message: 'pending',
          snapshotId: null,
        }
        const task = { ...base, source, tags: { ...tags }, token }
        this.tasks.set(task.id, task)
        return task
      },
      importTask: async (id) => {
        const task = this.tasks.get(id)
        if (!task) return null
        Object.assign(task, this.onImport(task, this.clock.sleeps.length))
        if (task.status === 'completed' && task.snapshotId === null) {
          task.snapshotId = this.#id('snap')
          const base = { state: 'completed' as const, sizeGib: 1, encrypted: false, kmsKey: null, progress: '100%' }
          this.snapshots.set(task.snapshotId, {
            ...base,
            id: task.snapshotId,
            startedAt: new Date(START),
            message: null,
            tags: {},
            parent: null,
            blocks: new Map(),
            sealing: null,
          })
        }
        return task
      },
      importTasks: async () => [...this.tasks.values()],
    }
  }

  #imagePort(): ImagePorts['images'] {
    const tagged = (tags: Tags, wanted: Tags) => Object.entries(wanted).every(([name, value]) => tags[name] === value)
    return {
      describe: async (id) => {
        if (this.#isUnknown(id)) return null
        const image = this.images.get(id)
        if (image && image.describes++ >= 2) image.state = 'available'
        return image ? { ...image, tags: { ...image.tags } } : null
      },
      find: async (by) =>
        [...this.images.values()]
          .filter((image) => ('name' in by ? image.name === by.name : tagged(image.tags, by.tags)))
          .map((image) => ({ ...image, tags: { ...image.tags } })),
      register: async ({ name, snapshotId, tags }) => {
        const snapshot = this.snapshots.get(snapshotId)
        if (snapshot?.state !== 'completed') throw new ClawctlError('UPSTREAM', `${snapshotId} is not completed.`)
        if ([...this.images.values()].some((image) => image.name === name)) {
          throw new ClawctlError('UPSTREAM', `The name ${name} is taken.`)
        }
        const id = this.#id('ami')
        const base = { id, name, snapshotId, state: 'pending', stateReason: null, createdAt: START, sizeGib: 1 }
        this.images.set(id, { ...base, tags: { ...tags }, describes: 0 })
        return id
      },
      tag: async (id, tags) => {
        this.#mustBeKnown(id, 'InvalidAMIID.NotFound')
        const image = this.images.get(id)
        if (!image) throw new ClawctlError('UPSTREAM', `There is no ${id}.`)
        if (tags.clawdinator === 'true' && image.state !== 'available') throw new Error(`${id} was tagged too early`)
        Object.assign(image.tags, tags)
      },
      deregister: async (id) => void this.images.delete(id),
    }
  }

  #objectPort(): ImagePorts['objects'] {
    const info = (key: string) => {
      const object = this.objects.get(key)
      if (!object) return null
      return { key, size: object.bytes.length, modifiedAt: object.modifiedAt, metadata: object.metadata }
    }
    return {
      bucket: 'bucket',
      head: async (key) => info(key),
      list: async (prefix) =>
        [...this.objects.keys()].filter((key) => key.startsWith(prefix)).flatMap((k) => info(k) ?? []),
      get: async (key) => this.objects.get(key)?.bytes ?? null,
      put: async (key, bytes) => {
        this.log.push(`object ${key}`)
        this.objects.set(key, { bytes: bytes.slice(), metadata: {}, modifiedAt: this.clock.now() })
      },
      delete: async (key) => void this.objects.delete(key),
      openUploads: async (prefix) =>
        [...this.uploads.values()]
          .filter(({ key }) => key.startsWith(prefix))
          .map(({ key, uploadId }) => ({ key, uploadId, startedAt: new Date(START) })),
      beginUpload: async (key, metadata) => {
        const uploadId = this.#id('upload')
        this.uploads.set(uploadId, { key, uploadId, metadata, parts: new Map() })
        return uploadId
      },
      sentParts: async ({ uploadId }) => {
        const upload = this.uploads.get(uploadId)
        return upload ? [...upload.parts.values()].sort((a, b) => a.number - b.number) : null
      },
      sendPart: async ({ uploadId, number, bytes, sha256: promised, body }) => {
        const fault = this.#fault()
        if (typeof fault === 'object') return fault
        const chunks: Buffer[] = []
        for await (const chunk of body()) chunks.push(Buffer.from(chunk))
        const data = Buffer.concat(chunks)
        if (fault === 'corrupt') data[0] = (data[0] ?? 0) ^ 1
        if (sha256(data).toString('base64') !== promised || data.length !== bytes) {
          return { ok: false, kind: 'passing', error: new Error('BadDigest') }
        }
        const part = { number, bytes, etag: `"${number}"`, sha256: promised }
        const upload = this.uploads.get(uploadId)
        if (!upload) {
          const cause = Object.assign(new Error(), { name: 'NoSuchUpload' })
          throw new ClawctlError('UPSTREAM', 'S3 UploadPart failed.', { cause })
        }
        upload.parts.set(number, { ...part, data })
        this.log.push(`part ${number}`)
        return { ok: true, value: part }
      },
      copyPart: async ({ uploadId, number, bytes, sha256: promised, from }) => {
        const fault = this.#fault()
        if (typeof fault === 'object') return fault
        const source = this.objects.get(from)?.bytes
        if (!source || !this.copies) return null
        const data = Buffer.from(source.subarray(0, bytes))
        if (fault === 'corrupt') data[0] = 1
        const part = { number, bytes, etag: `"${number}"`, sha256: sha256(data).toString('base64') }
        if (part.sha256 !== promised) return null
        this.uploads.get(uploadId)?.parts.set(number, { ...part, data })
        return { ok: true, value: part }
      },
      completeUpload: async ({ key, uploadId }, parts) => {
        const upload = this.uploads.get(uploadId)
        if (!upload || this.objects.has(key)) return false
        const bytes = Buffer.concat(parts.map(({ number }) => upload.parts.get(number)?.data ?? Buffer.alloc(0)))
        this.objects.set(key, { bytes, metadata: upload.metadata, modifiedAt: this.clock.now() })
        this.uploads.delete(uploadId)
        return true
      },
      abortUpload: async ({ uploadId }) => void this.uploads.delete(uploadId),
    }
  }

  #journalPort(name: string): Journal {
    const lines = () => {
      const known = this.journals.get(name) ?? []
      this.journals.set(name, known)
      return known
    }
    return {
      lines: async () => [...lines()],
      append: async (line) => void lines().push(line),
      clear: async () => void this.journals.delete(name),
      lock: async () => true,
      holder: async () => 'process 1',
      unlock: async () => {},
    }
  }
}
