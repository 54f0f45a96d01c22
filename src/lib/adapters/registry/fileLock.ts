import { open, readFile, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join, relative } from 'node:path'
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

/** As write-file-atomic names them, of the registry or of a host file below it. */
const TEMPORARY = /^(?:hosts\/)?[a-z][\w.-]*\.(?:json|nix)\.\d+$/

const ownerSchema = z.object({
  nonce: z.string(),
  pid: z.number(),
  host: z.string(),
  at: z.string(),
  /** A file that its owner is about to put in place, to be removed where it died before. */
  temporary: z.nullable(z.string()),
})
type Owner = z.infer<typeof ownerSchema>

export interface Lock {
  /** Notes which file the write under way is in; call it before the file is renamed. @throws ClawctlError REGISTRY_LOCKED where the lock was lost */
  writing(temporary: string): Promise<void>
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
    temporary: null,
  }
  await acquire(file, own, waitMs)
  try {
    return await work({
      async writing(temporary) {
        // Stopped for so long that somebody took over: what we read is not what is there.
        if ((await readOwner(file))?.nonce !== own.nonce) throw lostLock(file)
        const handle = await open(file, 'r+')
        await handle.write(contentOf({ ...own, temporary: relative(dirname(file), temporary) }))
        await handle.close()
      },
    })
  } finally {
    if ((await readOwner(file))?.nonce === own.nonce) await rm(file, { force: true })
  }
}

async function acquire(file: string, own: Owner, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs
  while (!(await create(file, contentOf(own)))) {
    if (Date.now() > deadline) throw await heldBy(file)
    if (await isDead(file)) await removeDead(file)
    else await sleep(POLL_MS)
  }
}

/** Of one length, so that writing it again in place is one write and never leaves a half. */
function contentOf(owner: Owner): string {
  return `${JSON.stringify(owner)}\n`.padStart(1024)
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
    const temporary = (await readOwner(file))?.temporary
    // Of no other name than a writer gives: the content of a file is nobody's order to remove others.
    if (temporary && TEMPORARY.test(temporary)) await rm(join(dirname(file), temporary), { force: true })
    await rm(file, { force: true })
  } finally {
    await rm(guard, { force: true })
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
