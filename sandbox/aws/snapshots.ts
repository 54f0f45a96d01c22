import { createHash } from 'node:crypto'
import { BLOCK_SIZE, Blocks } from './blocks.js'
import type { Tags } from './world.js'

export const BLOCKS_PER_GIB = 1024 ** 3 / BLOCK_SIZE

export interface Snapshot {
  id: string
  /** In GiB. */
  volumeSize: number
  state: 'pending' | 'completed' | 'error'
  startedAt: Date
  description: string
  tags: Tags
  /** The source of blocks that were not written; usable also after its deletion. */
  parent: Snapshot | null
  encrypted: boolean
  kmsKeyId: string | null
  /** No further block is accepted. */
  sealed: boolean
  /** When a snapshot without further writes expires. */
  expiresAt: Date | null
  /** The time limit, from the last block on. */
  timeoutMs: number
  blocks: Blocks
}

export interface NewSnapshot {
  id?: string
  volumeSize: number
  description?: string
  tags?: Iterable<[string, string]>
  parent?: Snapshot | null
  encrypted?: boolean
  kmsKeyId?: string | null
  /** Makes a pending snapshot that accepts blocks; otherwise it is complete. */
  timeoutMs?: number
  startedAt?: Date
}

export interface SnapshotsOptions {
  now(): Date
  newId(prefix: string): string
  /** Names a file for blocks, or null to keep them in memory. */
  newFile(): string | null
}

/** The time from CompleteSnapshot until a snapshot is complete. */
const COMPLETION_MS = 50

/** The account's snapshots, in the order of their creation. */
export class Snapshots {
  readonly #all = new Map<string, Snapshot>()
  readonly #options: SnapshotsOptions

  constructor(options: SnapshotsOptions) {
    this.#options = options
  }

  add(snapshot: NewSnapshot): Snapshot {
    const { now, newId, newFile } = this.#options
    const pending = snapshot.timeoutMs !== undefined
    const added: Snapshot = {
      id: snapshot.id ?? newId('snap'),
      volumeSize: snapshot.volumeSize,
      state: pending ? 'pending' : 'completed',
      startedAt: snapshot.startedAt ?? now(),
      description: snapshot.description ?? '',
      tags: new Map(snapshot.tags),
      parent: snapshot.parent ?? null,
      encrypted: snapshot.encrypted ?? false,
      kmsKeyId: snapshot.kmsKeyId ?? null,
      sealed: !pending,
      expiresAt: null,
      timeoutMs: snapshot.timeoutMs ?? 0,
      blocks: new Blocks(newFile()),
    }
    this.#all.set(added.id, added)
    if (pending) this.touch(added)
    return added
  }

  get(id: string): Snapshot | null {
    return this.all().find((snapshot) => snapshot.id === id) ?? null
  }

  /** Expired ones are in state `error`. */
  all(): Snapshot[] {
    const now = this.#options.now()
    for (const snapshot of this.#all.values()) this.#expire(snapshot, now)
    return [...this.#all.values()]
  }

  /** Restarts the time limit for the next block or the completion. */
  touch(snapshot: Snapshot): void {
    snapshot.expiresAt = new Date(this.#options.now().getTime() + snapshot.timeoutMs)
  }

  /** Accepts no further block; the snapshot is complete soon. */
  seal(snapshot: Snapshot): void {
    snapshot.sealed = true
    snapshot.expiresAt = null
    setTimeout(() => {
      snapshot.state = 'completed'
      void snapshot.blocks.close()
    }, COMPLETION_MS).unref()
  }

  /** Its blocks stay as long as a child needs them. */
  async delete(id: string): Promise<void> {
    const deleted = this.#all.get(id)
    this.#all.delete(id)
    const needed = new Set<Snapshot>()
    for (let one of this.#all.values() as Iterable<Snapshot | null>) {
      for (; one; one = one.parent) needed.add(one)
    }
    for (let one = deleted ?? null; one && !needed.has(one); one = one.parent) await one.blocks.discard()
  }

  /** The content of a block in a volume from the snapshot. Unwritten blocks are zeros, or noise if it is encrypted. */
  async read(snapshot: Snapshot, index: number): Promise<Buffer> {
    const block = await holderOf(snapshot, index)?.blocks.read(index)
    if (block) return block
    if (!snapshot.encrypted) return Buffer.alloc(BLOCK_SIZE)
    const noise = createHash('sha512').update(`${snapshot.id} ${index}`).digest()
    return Buffer.alloc(BLOCK_SIZE, noise)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all.values()].map((snapshot) => snapshot.blocks.close()))
  }

  #expire(snapshot: Snapshot, now: Date): void {
    if (snapshot.state !== 'pending' || snapshot.expiresAt === null || snapshot.expiresAt > now) return
    snapshot.state = 'error'
    snapshot.sealed = true
    snapshot.expiresAt = null
  }
}

/** The snapshot that a block of this one was written to: itself or the nearest ancestor. */
export function holderOf(snapshot: Snapshot, index: number): Snapshot | null {
  for (let one: Snapshot | null = snapshot; one; one = one.parent) if (one.blocks.digests.has(index)) return one
  return null
}

/** All blocks that were ever written to it or its ancestors, as index and digest, in order. */
export function digestsOf(snapshot: Snapshot): [number, Buffer][] {
  const found = new Map<number, Buffer>()
  for (let one: Snapshot | null = snapshot; one; one = one.parent) {
    for (const [index, digest] of one.blocks.digests) if (!found.has(index)) found.set(index, digest)
  }
  return [...found].sort(([a], [b]) => a - b)
}

export function rootOf(snapshot: Snapshot): Snapshot {
  let root = snapshot
  while (root.parent) root = root.parent
  return root
}
