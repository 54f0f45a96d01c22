import { chmodSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { REQUESTED_BY_PATTERN } from '../domain/contract/patterns.js'
import { ClawctlError } from '../domain/errors.js'
import { parseJson } from '../domain/json.js'

type Env = Readonly<Record<string, string | undefined>>

/** The settings that `clawctl login` saves. The token is in a separate file that only this user may read. */
const savedSchema = z.object({
  controlApiUrl: z.string(),
  requestedBy: z.optional(z.string().check(z.regex(REQUESTED_BY_PATTERN))),
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
  const saved = savedSchema.safeParse(parseJson(text))
  if (saved.success) return saved.data
  throw new ClawctlError('NOT_CONFIGURED', `${config} is not a file of \`clawctl login\`.`, {
    hint: 'Run `clawctl login` again.',
  })
}

/** Null if none was saved. @throws ClawctlError NOT_CONFIGURED if other users may read the file */
export function readSavedToken(env: Env): string | null {
  const { token } = savedFiles(env)
  const text = readOrNull(token)
  if (text !== null && process.platform !== 'win32' && (statSync(token).mode & 0o077) !== 0) {
    throw new ClawctlError('NOT_CONFIGURED', `${token} may be read by other users of this machine.`, {
      hint: `Run \`chmod 600 ${token}\`.`,
    })
  }
  return text?.trim() || null
}

/** Writes the token first, because settings without a token are useless. */
export async function saveSettings(env: Env, settings: SavedSettings, token: string): Promise<void> {
  const { default: writeFileAtomic } = await import('write-file-atomic')
  const files = savedFiles(env)
  try {
    mkdirSync(files.folder, { recursive: true, mode: 0o700 })
    chmodSync(files.folder, 0o700)
    await writeFileAtomic(files.token, `${token}\n`, { mode: 0o600 })
    await writeFileAtomic(files.config, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClawctlError('NOT_WRITABLE', `${files.folder} can't be written (${code}).`, {
      hint: 'Check its permissions, or set XDG_CONFIG_HOME to a folder of yours.',
      cause,
    })
  }
}

/** False if nothing was saved. */
export function removeSettings(env: Env): boolean {
  const { config, token } = savedFiles(env)
  const had = readOrNull(config) !== null || readOrNull(token) !== null
  for (const file of [token, config]) rmSync(file, { force: true })
  return had
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
