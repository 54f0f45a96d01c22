import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { BLOCK_SIZE } from './blocks.js'
import type { Content } from './content.js'
import type { Snapshot } from './snapshots.js'
import type { Tags, World } from './world.js'

export interface ImportRequest {
  bucket: string
  key: string
  format: 'RAW' | 'VHD' | 'VMDK'
  description: string
  encrypted: boolean
  kmsKeyId: string | null
  tags: Iterable<[string, string]>
}

/** A task of VM Import. */
export interface ImportTask extends Omit<ImportRequest, 'tags'> {
  id: string
  tags: Tags
  /** Of the object. */
  bytes: number
  status: 'active' | 'completed' | 'deleting' | 'deleted'
  message: string | null
  /** Percent. */
  progress: number
  snapshotId: string | null
}

export type ImportFault = 'error' | 'bad-image' | 'stuck'

const FAILURES = {
  error: 'ServerError: an internal error has occurred during conversion.',
  'bad-image': 'ClientError: Disk validation failed [Unsupported file format]',
}
/** The pause between the steps of a task, so that followers see its progress. */
const STEP_MS = 60
const SECTOR = 512

/** Starts a task, which runs in the background and never rejects. */
export function startImport(
  world: World,
  request: ImportRequest,
  content: Content,
  fault: 'no-role' | ImportFault | null,
): ImportTask {
  const task: ImportTask = {
    ...request,
    id: world.newId('import-snap'),
    tags: new Map(request.tags),
    bytes: content.size,
    status: 'active',
    message: 'pending',
    progress: 0,
    snapshotId: null,
  }
  world.imports.set(task.id, task)
  void work(world, task, content, fault).catch((error: Error) => {
    Object.assign(task, { status: 'deleted', message: `ServerError: ${error.message}` })
  })
  return task
}

async function work(world: World, task: ImportTask, content: Content, fault: string | null): Promise<void> {
  const step = () => sleep(STEP_MS, undefined, { ref: false })
  await step()
  Object.assign(task, { message: 'downloading/converting', progress: 19 })
  if (fault === 'stuck') return
  await step()
  const bytes = fault === 'bad-image' ? null : await diskBytes(task.format, content)
  if (fault === 'error' || bytes === null || bytes === 0) {
    const message = fault === 'error' ? FAILURES.error : FAILURES['bad-image']
    Object.assign(task, { status: 'deleting', message })
    await step()
    task.status = 'deleted'
    return
  }
  Object.assign(task, { message: 'preparing', progress: 60 })
  const snapshot = world.snapshots.add({
    volumeSize: Math.ceil(bytes / 1024 ** 3),
    description: `Created by AWS-VMImport service for ${task.id}`,
    encrypted: task.encrypted,
    kmsKeyId: task.kmsKeyId ?? (task.encrypted ? world.defaultKmsKey : null),
  })
  snapshot.state = 'pending'
  if (task.format !== 'VMDK' && bytes <= content.size) await copyBlocks(snapshot, content, bytes)
  await step()
  snapshot.state = 'completed'
  Object.assign(task, { status: 'completed', message: null, progress: 100, snapshotId: snapshot.id })
}

/** The size of the disk in an image, or null if it is not an image. */
async function diskBytes(format: ImportTask['format'], content: Content): Promise<number | null> {
  if (format === 'RAW') return content.size
  const from = format === 'VHD' ? Math.max(0, content.size - SECTOR) : 0
  const chunks: Buffer[] = []
  for await (const chunk of content.read(from, Math.min(from + SECTOR, content.size) - 1)) chunks.push(chunk)
  const header = Buffer.concat(chunks)
  if (header.length < SECTOR) return null
  // the current size of a VHD's footer; the capacity, in sectors, of a sparse VMDK's header
  if (format === 'VHD')
    return header.toString('latin1', 0, 8) === 'conectix' ? Number(header.readBigUInt64BE(48)) : null
  return header.toString('latin1', 0, 4) === 'KDMV' ? Number(header.readBigUInt64LE(12)) * SECTOR : null
}

/** Stores the blocks with data, so that the snapshot can be read and be a parent. */
async function copyBlocks(snapshot: Snapshot, content: Content, bytes: number): Promise<void> {
  const zeros = Buffer.alloc(BLOCK_SIZE)
  for (let index = 0; index * BLOCK_SIZE < bytes; index++) {
    const block = Buffer.alloc(BLOCK_SIZE)
    let at = 0
    const last = Math.min((index + 1) * BLOCK_SIZE, bytes) - 1
    for await (const chunk of content.read(index * BLOCK_SIZE, last)) at += chunk.copy(block, at)
    if (!block.equals(zeros)) await snapshot.blocks.write(index, [block], createHash('sha256').update(block).digest())
  }
}
