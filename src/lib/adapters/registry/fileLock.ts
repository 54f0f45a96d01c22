import { open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod/mini'
import { ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'

/** An edit takes some milliseconds: who holds the lock longer than this is stopped or gone, whatever its process id says. */
const HELD_AT_MOST_MS = 60_000
/** The name is written right after the file is made. */
const NAMELESS_AT_MOST_MS = 2_000
/** Two looks and two removals. */
const TAKEOVER_AT_MOST_MS = 10_000
/** Long enough for a queue of edits, short enough for a person. */
const WAIT_MS = 15_000
const POLL_MS = 25

/** As write-file-atomic names its temporary files, of the registry or of a host file below it. */
const TEMPORARY = /^[a-z][\w.-]*\.(?:json|nix)\.\d{1,10}$/
/** A file system's clock ticks more slowly than ours. */
const TICK_MS = 50

const ownerSchema = z.object({
  nonce: z.string(),
  pid: z.number(),
  host: z.string(),
  at: z.string(),
})
type Owner = z.infer<typeof ownerSchema>

export interface Lock {
  /** To be called before each write is put in place. @throws ClawctlError REGISTRY_LOCKED where another took over */
  confirm(): Promise<void>
}

/**
 * Runs `work` while no other clawctl holds the lock file. A file and not an advisory lock, because Node has none; its
 * content says whose it is, so that one whose owner died is taken over.
 * @throws ClawctlError REGISTRY_LOCKED with the owner, NOT_WRITABLE
 */
export async function withFileLock<T>(file: string, work: (lock: Lock) => Promise<T>, waitMs = WAIT_MS): Promise<T> {
  const own: Owner = {
    nonce: crypto.randomUUID(),
    pid: process.pid,
    host: hostname(),
    at: new Date().toISOString(),
  }
  await acquire(file, own, waitMs)
  try {
    return await work({
      async confirm() {
        // Stopped for so long that somebody took over: what we read is not what is there.
        if ((await readOwner(file))?.nonce !== own.nonce) throw lostLock(file)
      },
    })
  } finally {
    if ((await readOwner(file))?.nonce === own.nonce) await rm(file, { force: true })
  }
}

async function acquire(file: string, own: Owner, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs
  while (!(await create(file, `${JSON.stringify(own)}\n`))) {
    if (Date.now() > deadline) throw await heldBy(file)
    if (await isDead(file)) await removeDead(file)
    else await sleep(POLL_MS)
  }
}

/** False where it is there. */
async function create(file: string, content: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx')
    await handle.writeFile(content)
    await handle.close()
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    throw new ClawctlError('NOT_WRITABLE', `${file} can't be written (${code}), so the registry can't be edited.`, {
      hint: `Let this user write in ${dirname(file)}, or use --pr, which writes nothing here.`,
      cause: error,
    })
  }
}

/** Its owner ran here and runs no more, or has had it for longer than any edit takes. */
async function isDead(file: string): Promise<boolean> {
  const [owner, age] = await Promise.all([readOwner(file), ageOf(file)])
  if (age === null) return false
  if (age > (owner === null ? NAMELESS_AT_MOST_MS : HELD_AT_MOST_MS)) return true
  return owner !== null && owner.host === hostname() && !isRunning(owner.pid)
}

/**
 * Removes a dead lock and what its owner left. One at a time, and only after another look: else the second of two who
 * saw the dead lock would remove the living one of the first.
 */
async function removeDead(file: string): Promise<void> {
  const guard = `${file}.takeover`
  if (!(await create(guard, ''))) {
    const age = await ageOf(guard)
    if (age !== null && age > TAKEOVER_AT_MOST_MS) await rm(guard, { force: true })
    await sleep(POLL_MS)
    return
  }
  try {
    if (!(await isDead(file))) return
    const owner = await readOwner(file)
    if (owner) await removeBegun(dirname(file), Date.parse(owner.at))
    await rm(file, { force: true })
  } finally {
    await rm(guard, { force: true })
  }
}

/** What a writer that died had begun: nobody else has written such files since it took the lock. */
async function removeBegun(folder: string, since: number): Promise<void> {
  for (const below of [folder, join(folder, 'hosts')]) {
    for (const name of await readdir(below).catch(() => [])) {
      const path = join(below, name)
      const stats = TEMPORARY.test(name) ? await stat(path).catch(() => null) : null
      if (stats?.isFile() && stats.mtimeMs >= since - TICK_MS) await rm(path, { force: true })
    }
  }
}

async function readOwner(file: string): Promise<Owner | null> {
  const text = await readFile(file, 'utf8').catch(() => null)
  const parsed = ownerSchema.safeParse(text === null ? null : parseJson(text))
  return parsed.success ? parsed.data : null
}

async function ageOf(file: string): Promise<number | null> {
  const stats = await stat(file).catch(() => null)
  return stats && Date.now() - stats.mtimeMs
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function heldBy(file: string): Promise<ClawctlError> {
  const owner = await readOwner(file)
  const whose = owner ? `process ${owner.pid} on ${owner.host} since ${owner.at}` : 'somebody who did not say who'
  return new ClawctlError('REGISTRY_LOCKED', `The registry is being edited by ${whose} (${file}).`, {
    hint: `Wait for it and try again; where nothing of the kind runs, remove ${file}.`,
  })
}

function lostLock(file: string): ClawctlError {
  return new ClawctlError('REGISTRY_LOCKED', `This edit was stopped for so long that another took over (${file}).`, {
    hint: 'Nothing was written. Run the command again.',
  })
}
