import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

/** More threads would only wait for the disk. */
const MOST_THREADS = 4
/** For fewer blocks, starting a thread takes longer than reading them. */
const WORTH_A_THREAD = 128
const REPORT_MS = 100

const ZERO = 1
const DATA = 2
const DIGEST_BYTES = 32

/**
 * The code of a thread: takes the next block until there is none, reads it, and records its kind. JavaScript in a
 * string, so that it is the same from the bundle and from the sources. Reading, comparing and hashing in place, in
 * threads of their own, takes two thirds of the CPU time of the thread pool (WebCrypto copies every block into fresh
 * pages): docs/adr/0018.
 */
const THREAD = `
const { workerData, parentPort } = require('node:worker_threads')
const { readSync } = require('node:fs')
const { createHash } = require('node:crypto')
const { fd, bytes, blockBytes, indexes, kinds, digests, control } = workerData
const zero = Buffer.alloc(blockBytes)
const block = Buffer.alloc(blockBytes)
for (;;) {
  if (Atomics.load(control, 1) !== 0) break
  const at = Atomics.add(control, 0, 1)
  if (at >= indexes.length) break
  const start = indexes[at] * blockBytes
  const length = Math.min(blockBytes, bytes - start)
  let done = 0
  while (done < length) {
    const read = readSync(fd, block, done, length - done, start + done)
    if (read === 0) throw Object.assign(new Error('short'), { code: 'SHORT' })
    done += read
  }
  if (length < blockBytes) block.fill(0, length)
  if (block.equals(zero)) kinds[at] = 1
  else {
    digests.set(createHash('sha256').update(block).digest(), at * 32)
    kinds[at] = 2
  }
}
parentPort.close()
`

export interface DigestedBlocks {
  indexes: Uint32Array
  /** For each of `indexes`: its SHA-256, or null if it is all zeros. */
  digestOf(position: number): Uint8Array | null
}

/**
 * Reads these blocks of an open file and hashes those that hold data; the last block of the file is filled up with zeros.
 * @throws NodeJS.ErrnoException if one can't be read; code SHORT if the file ends before it; AbortError on `stop`
 */
export async function digestBlocks(
  file: { handle: FileHandle; bytes: number },
  wanted: Uint32Array,
  options: { blockBytes: number; stop: AbortSignal; onProgress(blocks: number): void },
): Promise<DigestedBlocks> {
  const { blockBytes, stop } = options
  const indexes = shared(Uint32Array, wanted.length)
  indexes.set(wanted)
  const kinds = shared(Uint8Array, wanted.length)
  const digests = shared(Uint8Array, wanted.length * DIGEST_BYTES)
  const result: DigestedBlocks = {
    indexes,
    digestOf: (at) => (kinds[at] === ZERO ? null : digests.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES)),
  }
  if (wanted.length < WORTH_A_THREAD) {
    const block = Buffer.alloc(blockBytes)
    const zero = Buffer.alloc(blockBytes)
    for (const [at, index] of indexes.entries()) {
      stop.throwIfAborted()
      const start = index * blockBytes
      await readWhole(file.handle, block.subarray(0, Math.min(blockBytes, file.bytes - start)), start)
      block.fill(0, Math.min(blockBytes, file.bytes - start))
      kinds[at] = block.equals(zero) ? ZERO : DATA
      if (kinds[at] === DATA) digests.set(createHash('sha256').update(block).digest(), at * DIGEST_BYTES)
    }
    return result
  }
  /** The next position to take, and whether to end. */
  const control = shared(Int32Array, 2)
  const workerData = { fd: file.handle.fd, bytes: file.bytes, blockBytes, indexes, kinds, digests, control }
  const end = () => Atomics.store(control, 1, 1)
  const timer = setInterval(() => options.onProgress(Math.min(Atomics.load(control, 0), wanted.length)), REPORT_MS)
  stop.addEventListener('abort', end)
  try {
    const threads = Math.min(MOST_THREADS, availableParallelism())
    const ended = await Promise.allSettled(Array.from({ length: threads }, () => runThread(workerData, end)))
    for (const one of ended) if (one.status === 'rejected') throw one.reason
    stop.throwIfAborted()
    return result
  } finally {
    clearInterval(timer)
    stop.removeEventListener('abort', end)
  }
}

function runThread(workerData: object, end: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(THREAD, { eval: true, workerData, execArgv: [], env: {} })
    worker.once('error', (error) => {
      end()
      reject(error)
    })
    worker.once('exit', () => resolve())
  })
}

/** Fills `into`. @throws code SHORT if the file ends before */
export async function readWhole(handle: FileHandle, into: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, offset + done)
    if (bytesRead === 0) throw Object.assign(new Error('short'), { code: 'SHORT' })
    done += bytesRead
  }
}

interface SharedArray<T> {
  new (buffer: SharedArrayBuffer): T
  readonly BYTES_PER_ELEMENT: number
}

/** An array in memory shared with the threads. */
function shared<T>(kind: SharedArray<T>, length: number): T {
  return new kind(new SharedArrayBuffer(length * kind.BYTES_PER_ELEMENT))
}
