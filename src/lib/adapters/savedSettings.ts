import { chmodSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { REQUESTED_BY_PATTERN } from '../domain/contract/patterns.js'
import { ClawctlError } from '../domain/errors.js'
import { parseAs } from '../domain/json.js'
import type { Keychain } from './keychain.js'
import type { Env } from './settings.js'

/** Null on a fleet host, in ci mode and in a sandbox, where a saved token is never in a keychain. */
export type FindKeychain = () => Promise<Keychain | null>

/**
 * The settings that `clawctl login` saves. The token is in the OS keychain, with the URL as its account, or in a file
 * that only this user may read. The keychain is read only if `tokenIn` names it.
 */
const savedSchema = z.object({
  controlApiUrl: z.string(),
  requestedBy: z.optional(z.string().check(z.regex(REQUESTED_BY_PATTERN))),
  tokenIn: z.optional(z.literal('keychain')),
})
export type SavedSettings = z.infer<typeof savedSchema>

/** Below CLAWCTL_HOST_ROOT if it is set, so that a sandbox and tests do not use a person's settings. */
export function savedFiles(env: Env): { folder: string; config: string; token: string } {
  const base = env.CLAWCTL_HOST_ROOT ? join(env.CLAWCTL_HOST_ROOT, 'home/.config') : env.XDG_CONFIG_HOME
  const folder = join(base || join(homedir(), '.config'), 'clawctl')
  return { folder, config: join(folder, 'config.json'), token: join(folder, 'control-token') }
}

/** Null if nothing was saved. @throws ClawctlError NOT_CONFIGURED if the file can't be read */
export function readSaved(env: Env): SavedSettings | null {
  const { config } = savedFiles(env)
  const text = readOrNull(config)
  if (text === null) return null
  const saved = parseAs(savedSchema, text)
  if (saved) return saved
  throw new ClawctlError('NOT_CONFIGURED', `${config} is not a file of \`clawctl login\`.`, {
    hint: 'Run `clawctl login` again.',
  })
}

/**
 * The token that was saved for this URL, and where: in the keychain, else in the file. Null if there is none.
 * @throws ClawctlError NOT_CONFIGURED if other users may read the file, or the keychain can't be read
 */
export async function readSavedToken(
  env: Env,
  url: string | null,
  findKeychain: FindKeychain,
): Promise<{ token: string; from: string } | null> {
  const saved = readSaved(env)
  if (saved === null || saved.controlApiUrl !== url) return null
  const keychain = saved.tokenIn === 'keychain' ? await findKeychain() : null
  const answer = await keychain?.('read', url)
  if (answer && 'value' in answer && answer.value) return { token: answer.value, from: 'the OS keychain' }
  const token = readTokenFile(env)
  if (token !== null) return { token, from: savedFiles(env).token }
  if (answer && 'problem' in answer) {
    throw new ClawctlError(
      'NOT_CONFIGURED',
      `The OS keychain, which has the token, can't be read: ${answer.problem}.`,
      {
        hint: 'Unlock the keychain and run the command again, or run `clawctl login`, which takes a file where there is no keychain.',
      },
    )
  }
  return null
}

function readTokenFile(env: Env): string | null {
  const { token } = savedFiles(env)
  const text = readOrNull(token)
  if (text !== null && process.platform !== 'win32' && (statSync(token).mode & 0o077) !== 0) {
    throw new ClawctlError('NOT_CONFIGURED', `${token} may be read by other users of this machine.`, {
      hint: `Run \`chmod 600 ${token}\`.`,
    })
  }
  return text?.trim() || null
}

/**
 * Writes the token first, because settings without a token are useless, and removes what an earlier login left elsewhere.
 * @throws ClawctlError NOT_WRITABLE
 */
export async function saveSettings(
  env: Env,
  settings: Omit<SavedSettings, 'tokenIn'>,
  token: string,
  findKeychain: FindKeychain,
): Promise<SavedPlace> {
  const { default: writeFileAtomic } = await import('write-file-atomic')
  const files = savedFiles(env)
  const before = readable(env)
  const keychain = await findKeychain()
  const answer = await keychain?.('write', settings.controlApiUrl, token)
  const inKeychain = answer !== undefined && 'value' in answer
  const saved: SavedSettings = inKeychain ? { ...settings, tokenIn: 'keychain' } : settings
  try {
    mkdirSync(files.folder, { recursive: true, mode: 0o700 })
    chmodSync(files.folder, 0o700)
    if (!inKeychain) await writeFileAtomic(files.token, `${token}\n`, { mode: 0o600 })
    await writeFileAtomic(files.config, `${JSON.stringify(saved, null, 2)}\n`, { mode: 0o600 })
    if (inKeychain) rmSync(files.token, { force: true })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClawctlError('NOT_WRITABLE', `${files.folder} can't be written (${code}).`, {
      hint: 'Check its permissions, or set XDG_CONFIG_HOME to a folder of yours.',
      cause,
    })
  }
  // If nothing could be written there, nothing can be removed there either.
  if (inKeychain && before?.tokenIn === 'keychain' && before.controlApiUrl !== settings.controlApiUrl) {
    await keychain?.('remove', before.controlApiUrl)
  }
  const { folder } = files
  if (inKeychain) return { folder, tokenIn: 'keychain' }
  return { folder, tokenIn: 'file', ...(answer ? { keychainProblem: answer.problem } : {}) }
}

export interface SavedPlace {
  folder: string
  tokenIn: 'keychain' | 'file'
  /** Why the token is in the file, if a keychain was tried. */
  keychainProblem?: string
}

const NOT_ASKED = { problem: 'it is not used on a fleet host or in ci mode' }

/**
 * False if nothing was saved.
 * @throws ClawctlError NOT_WRITABLE if the token stays in the keychain; then the files stay, too
 */
export async function removeSettings(env: Env, findKeychain: FindKeychain): Promise<boolean> {
  const { config, token, folder } = savedFiles(env)
  const had = readOrNull(config) !== null || readOrNull(token) !== null
  const saved = readable(env)
  const keychain = saved && (await findKeychain())
  // Also if the token is in the file: an earlier login may have left an entry in a keychain that was locked since.
  const answer = (await keychain?.('remove', saved?.controlApiUrl ?? '')) ?? NOT_ASKED
  if (saved?.tokenIn === 'keychain' && 'problem' in answer) {
    throw new ClawctlError('NOT_WRITABLE', `The token is still in the OS keychain: ${answer.problem}.`, {
      hint: `Unlock the keychain and run \`clawctl logout\` again, or delete its entry "clawctl" and remove ${folder}.`,
    })
  }
  for (const file of [token, config]) rmSync(file, { force: true })
  return had
}

/** Null also for a file that is not of `clawctl login`, which login and logout replace. */
function readable(env: Env): SavedSettings | null {
  try {
    return readSaved(env)
  } catch {
    return null
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new ClawctlError('NOT_CONFIGURED', `${file} can't be read (${code}).`, {
      hint: 'Check its permissions, or run `clawctl login` again.',
    })
  }
}
