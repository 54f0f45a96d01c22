import writeFileAtomic from 'write-file-atomic'
import { ClawctlError } from '../domain/errors.js'

/** A service's group may read it, nobody else. */
const MODE = 0o640

/**
 * `NAME=value` lines, as systemd's EnvironmentFile reads them; whoever reads meanwhile sees the old file or the new one.
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
      hint: 'Name a file in a folder that exists and that this user may write to.',
    })
  }
}
