import writeFileAtomic from 'write-file-atomic'
import { ClawctlError } from '../domain/errors.js'

/** Readable only by owner and group: a service's group reads it. */
const MODE = 0o640

/**
 * `NAME=value` lines, in the format of systemd's EnvironmentFile. Replaced atomically.
 * @param variables values without line breaks
 * @throws ClawctlError USAGE
 */
export async function writeEnvFile(path: string, variables: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`)
  try {
    await writeFileAtomic(path, lines.join(''), { mode: MODE })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ClawctlError('USAGE', `${path} can't be written (${code ?? 'unknown'}).`, {
      hint: 'Use a file in an existing folder that this user may write to.',
    })
  }
}
