import { open, readFile, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod/mini'
import { parseAs } from '../domain/json.js'

/** The owner is written right after the file is made. */
const NAMELESS_AT_MOST_MS = 2_000
/** Two checks and two removals. */
const TAKEOVER_AT_MOST_MS = 10_000
const POLL_MS = 25

const ownerSchema = z.object({
  nonce: z.string(),
  pid: z.number(),
  host: z.string(),
  at: z.string(),
  /** The boot of the machine and the start of the process: process ids are reused. Null if the system does not show them. */
  boot: z.optional(z.nullable(z.string())),
  started: z.optional(z.nullable(z.string())),
})
export type LockOwner = z.infer<typeof ownerSchema>

export interface LockOptions {
  /** How long to wait for another owner. */
  waitMs: number
  /** An owner that holds it longer counts as dead; null if the work may take any time. */
  heldAtMostMs: number | null
  /** Removes what a dead owner left, before its lock is removed. */
  onTakeover?(owner: LockOwner): Promise<void>
}

export interface FileLock {
  /** False if another process took the lock: this one was stopped for too long. */
  isOwn(): Promise<boolean>
  release(): Promise<void>
}

/**
 * Takes the lock file; null if another process holds it. Node has no advisory locks, so a file is used; its
 * content names the owner, so that the lock of a dead process can be taken over.
 * @throws NodeJS.ErrnoException if the file can't be written
 */
export async function takeLock(file: string, options: LockOptions): Promise<FileLock | null> {
  const own: LockOwner = {
    nonce: crypto.randomUUID(),
    pid: process.pid,
    host: hostname(),
    at: new Date().toISOString(),
    boot: await bootId(),
    started: (await statusOf(process.pid))?.started ?? null,
  }
  const deadline = Date.now() + options.waitMs
  while (!(await create(file, `${JSON.stringify(own)}\n`))) {
    if (await isDead(file, options)) await removeDead(file, options)
    else if (Date.now() > deadline) return null
    else await sleep(Math.min(POLL_MS, options.waitMs))
  }
  const isOwn = async () => (await readOwner(file))?.nonce === own.nonce
  return {
    isOwn,
    async release() {
      if (await isOwn()) await rm(file, { force: true })
    },
  }
}

/** "process 7 on laptop since 2026-01-01T00:00:00.000Z" */
export async function describeOwner(file: string): Promise<string> {
  const owner = await readOwner(file)
  return owner ? `process ${owner.pid} on ${owner.host} since ${owner.at}` : 'an unknown process'
}

/** False if it exists. */
async function create(file: string, content: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx')
    await handle.writeFile(content)
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Its owner ran on this machine and has ended, or has held it longer than allowed. */
async function isDead(file: string, { heldAtMostMs }: LockOptions): Promise<boolean> {
  const [owner, age] = await Promise.all([readOwner(file), ageOf(file)])
  if (age === null) return false
  if (owner === null) return age > NAMELESS_AT_MOST_MS
  if (heldAtMostMs !== null && age > heldAtMostMs) return true
  if (owner.host !== hostname()) return false
  const boot = await bootId()
  if (owner.boot && boot && owner.boot !== boot) return true
  const status = await statusOf(owner.pid)
  if (status === null) return !isRunning(owner.pid)
  return status.ended || (Boolean(owner.started) && owner.started !== status.started)
}

/**
 * Removes a dead lock and what its owner left. One process at a time, after a second check: else the second of two that
 * saw the dead lock would remove the new lock of the first.
 */
async function removeDead(file: string, options: LockOptions): Promise<void> {
  const guard = `${file}.takeover`
  if (!(await create(guard, ''))) {
    const age = await ageOf(guard)
    if (age !== null && age > TAKEOVER_AT_MOST_MS) await rm(guard, { force: true })
    await sleep(POLL_MS)
    return
  }
  try {
    if (!(await isDead(file, options))) return
    const owner = await readOwner(file)
    if (owner) await options.onTakeover?.(owner)
    await rm(file, { force: true })
  } finally {
    await rm(guard, { force: true })
  }
}

async function readOwner(file: string): Promise<LockOwner | null> {
  return parseAs(ownerSchema, await readFile(file, 'utf8').catch(() => null))
}

async function ageOf(file: string): Promise<number | null> {
  const stats = await stat(file).catch(() => null)
  return stats && Date.now() - stats.mtimeMs
}

/** Changes with each boot of the kernel; null outside of Linux. */
async function bootId(): Promise<string | null> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => null)
  return text?.trim() || null
}

/** Fields 3 and 22 of /proc/PID/stat (proc(5)); null if there is no such process, or outside of Linux. */
async function statusOf(pid: number): Promise<{ ended: boolean; started: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
  // The program's name, in brackets, may contain anything.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, started] = [fields?.[0], fields?.[19]]
  return state === undefined || started === undefined ? null : { ended: /^[ZX]/.test(state), started }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
