import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseAs } from '../src/lib/domain/json.js'
import type { Session } from './environment.js'

export const sessionSchema = z.object({
  paths: z.object({ folder: z.string(), bin: z.string(), toolBin: z.string(), sessionFile: z.string() }),
  checkoutRoot: z.string(),
  registryFile: z.nullable(z.string()),
  controlApiUrl: z.string(),
  controlToken: z.string(),
  hostTokens: z.record(z.string(), z.string()),
  ci: z.record(z.string(), z.string()),
  adminUrl: z.string(),
  adminToken: z.string(),
  pid: z.number(),
})

/** The sandbox of this process, or null if there is none or it has ended. */
export async function currentSession(env: NodeJS.ProcessEnv): Promise<Session | null> {
  const file = env.CLAWCTL_SANDBOX
  if (!file) return null
  const session = parseAs(sessionSchema, await readFile(file, 'utf8').catch(() => null))
  if (!session) return null
  try {
    process.kill(session.pid, 0)
    return session
  } catch {
    return null
  }
}

/** Adds faults to a running sandbox; the returned function removes the rest of them. */
export async function lendFaults(session: Session, faults: readonly string[]): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const order = request(
      `${session.adminUrl}/faults`,
      { method: 'POST', headers: { authorization: `Bearer ${session.adminToken}` } },
      (response) => {
        if (response.statusCode === 200) {
          resolve(() => order.destroy())
          return
        }
        let text = ''
        response.on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () => reject(new ClawctlError('USAGE', text)))
      },
    )
    order.once('error', (error) =>
      reject(new ClawctlError('SANDBOX_FAILED', `The sandbox does not answer: ${error.message}.`)),
    )
    order.end(JSON.stringify({ faults }))
  })
}
