import { createHash } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { execa } from 'execa'
import { ClawctlError } from '../domain/errors.js'
import type { SecretText } from '../ops/secrets/controlSecrets.js'
import type { Env } from './settings.js'

const DIGITS = 12

export const shortDigest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, DIGITS)

/**
 * A new text for what only a maintainer may see: from a file (`-` is stdin), or from the editor that VISUAL or EDITOR
 * names. Never on a command line.
 */
export function secretText(env: Env, folder: () => string): SecretText {
  return {
    digest: shortDigest,
    async fromFile(path: string): Promise<string> {
      try {
        return path === '-' ? await textOf(process.stdin) : await readFile(path, 'utf8')
      } catch (cause) {
        throw new ClawctlError('USAGE', `${path} can't be read (${(cause as NodeJS.ErrnoException).code}).`, {
          hint: 'Give --file a JSON object of the secrets, or - for stdin.',
        })
      }
    },
    async edited(text: string): Promise<string | null> {
      const editor = env.VISUAL || env.EDITOR
      if (!editor || !process.stdin.isTTY) {
        throw new ClawctlError('USAGE', 'There is no editor to change the secrets in.', {
          hint: 'Set EDITOR in a terminal, or give the whole object with --file FILE (- is stdin).',
        })
      }
      const path = join(folder(), 'control-api.json')
      await writeFile(path, text, { mode: 0o600 })
      try {
        // The variable may hold arguments, as git takes it.
        const { failed } = await execa('sh', ['-c', `${editor} "$1"`, 'editor', path], {
          stdio: 'inherit',
          reject: false,
        })
        if (failed) throw new ClawctlError('CANCELLED', 'The editor failed. Nothing was written.')
        const edited = await readFile(path, 'utf8')
        return edited === text ? null : edited
      } finally {
        await rm(path, { force: true })
      }
    },
  }
}
