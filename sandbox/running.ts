import { readdir, readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseJson } from '../src/lib/domain/json.js'
import type { Session } from './environment.js'
import { sessionSchema } from './session.js'
import { shellUnset } from './up.js'

const ANSWERS_WITHIN_MS = 2_000
const ENDS_WITHIN_MS = 30_000

export interface RunningSandbox {
  folder: string
  controlApiUrl: string
  pid: number
  /** The number of requests to its services. */
  requests: number
  /** Whether this shell uses it. */
  here: boolean
}

/** The sandboxes of this user that answer, in the order of their folders. */
export async function listSandboxes(env: NodeJS.ProcessEnv): Promise<RunningSandbox[]> {
  const sessions = await liveSessions()
  return sessions.map(({ session, requests }) => ({
    folder: session.paths.folder,
    controlApiUrl: session.controlApiUrl,
    pid: session.pid,
    requests,
    here: session.paths.sessionFile === env.CLAWCTL_SANDBOX,
  }))
}

/**
 * Ends the sandbox of this shell, or the only one.
 * @returns lines for the shell's `eval` if this shell uses it, and the removed folders
 * @throws ClawctlError USAGE if there are several, or it ends with its command; SANDBOX_FAILED if it does not end
 */
export async function endSandboxes(env: NodeJS.ProcessEnv, all: boolean): Promise<{ ended: string[]; unset: string }> {
  const sessions = (await liveSessions()).map(({ session }) => session)
  const ours = sessions.find(({ paths }) => paths.sessionFile === env.CLAWCTL_SANDBOX)
  const [only, ...more] = ours ? [ours] : sessions
  if (more.length > 0 && !all) {
    throw new ClawctlError('USAGE', `${sessions.length} sandboxes are running.`, {
      hint: 'Run it in the shell that uses one, or pass --all. See `clawctl sandbox status`.',
    })
  }
  const ended = all ? sessions : only ? [only] : []
  for (const session of ended) await end(session)
  return {
    ended: ended.map(({ paths }) => paths.folder),
    unset: env.CLAWCTL_SANDBOX ? shellUnset(ours?.paths.folder ?? join(env.CLAWCTL_SANDBOX, '..')) : '',
  }
}

async function end(session: Session): Promise<void> {
  const { status } = await ask(session, 'DELETE')
  if (status === 409) {
    throw new ClawctlError('USAGE', `${session.paths.folder} ends with the command that runs in it.`, {
      hint: 'End that command: `exit` in its shell.',
    })
  }
  const limit = Date.now() + ENDS_WITHIN_MS
  while (await stat(session.paths.folder).catch(() => null)) {
    if (Date.now() > limit) {
      throw new ClawctlError('SANDBOX_FAILED', `${session.paths.folder} still exists after 30 s.`, {
        hint: `End its process: kill ${session.pid}.`,
      })
    }
    await sleep(50)
  }
}

/** Skips sandboxes that were killed, and those of other users. */
async function liveSessions(): Promise<{ session: Session; requests: number }[]> {
  const folders = (await readdir(tmpdir())).filter((name) => name.startsWith('clawctl-sandbox-')).sort()
  const found = await Promise.all(
    folders.map(async (name) => {
      const file = join(tmpdir(), name, 'session.json')
      try {
        if ((await stat(file)).uid !== process.getuid?.()) return []
        const session = sessionSchema.parse(parseJson(await readFile(file, 'utf8')))
        const response = await ask(session, 'GET')
        const requests: unknown = response.ok ? await response.json() : null
        return Array.isArray(requests) ? [{ session, requests: requests.length }] : []
      } catch {
        return []
      }
    }),
  )
  return found.flat()
}

const ask = ({ adminUrl, adminToken }: Session, method: 'GET' | 'DELETE') =>
  fetch(adminUrl, {
    method,
    headers: { authorization: `Bearer ${adminToken}` },
    signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
  })
