import { execa } from 'execa'
import * as z from 'zod/mini'
import { parseAs } from '../domain/json.js'
import type { Env } from './settings.js'

/** Long enough for a person to unlock a keychain with a password. */
const TIMEOUT_MS = 20_000

const answerSchema = z.union([z.object({ value: z.nullable(z.string()) }), z.object({ problem: z.string() })])
type Answer = z.infer<typeof answerSchema>

/**
 * One entry of the OS keychain (macOS Keychain, Windows Credential Manager, Secret Service on Linux), named by its account.
 * `read` answers with null if there is no entry. Never rejects: a machine without a keychain is a `problem`, as text.
 */
export type Keychain = (operation: 'read' | 'write' | 'remove', account: string, token?: string) => Promise<Answer>

/** A written token is read back. The kernel's keyring, which the library would fall back to on Linux, is lost at a reboot. */
const CALL = `
import { readFileSync } from 'node:fs'
const [, library, operation, account] = process.argv
let answer
try {
  const loaded = await import(library)
  const { Entry } = loaded.default ?? loaded
  const entry = new Entry('clawctl', account, { linux: { store: 'secret-service' } })
  if (operation === 'write') entry.setPassword(readFileSync(0, 'utf8'))
  if (operation === 'remove') entry.deletePassword()
  const value = entry.getPassword()
  if (operation === 'write' && value === null) throw new Error('the entry is not there after it was written')
  answer = { value }
} catch (error) {
  answer = { problem: error.message }
}
process.stdout.write(JSON.stringify(answer))
`

/**
 * Each call is a process of its own, because it can be killed: a native call that waits for D-Bus would keep Node from
 * exiting. The token is never among its arguments.
 */
export function osKeychain(env: Env, timeoutMs = TIMEOUT_MS): Keychain {
  return async (operation, account, token = '') => {
    let library: string
    try {
      library = import.meta.resolve('@napi-rs/keyring')
    } catch {
      return { problem: 'the package @napi-rs/keyring is not installed' }
    }
    const { stdout, timedOut } = await execa(
      process.execPath,
      ['--input-type=module', '--eval', CALL, '--', library, operation, account],
      {
        input: token,
        env,
        extendEnv: false,
        stderr: 'ignore',
        reject: false,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
      },
    )
    if (timedOut) return { problem: `no answer within ${timeoutMs / 1000} s` }
    return parseAs(answerSchema, stdout) ?? { problem: 'its library failed' }
  }
}
