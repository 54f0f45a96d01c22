import { createHash } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { execa } from 'execa'
import { ClawctlError } from '../domain/errors.js'
import type { SecretText } from '../ops/secrets/controlSecrets.js'
import type { Env } from './settings.js'

const DIGITS = 12

const digestPrefix = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, DIGITS)

/**
 * Reads a secret text from a file (`-` is stdin) or from the editor of VISUAL or EDITOR, never from the command line.
 */
export function secretText(env: Env, folder: () => string): SecretText {
  return {
    digest: digestPrefix,
    async fromFile(path: string): Promise<string> {
      try {
        return path === '-' ? await textOf(process.stdin) : await readFile(path, 'utf8')
      } catch (cause) {
        throw new ClawctlError('USAGE', `${path} can't be read (${(cause as NodeJS.ErrnoException).code}).`, {
          hint: 'Pass a file with a JSON object of the secrets, or - for stdin.',
        })
      }
    },
    async edited(text: string): Promise<string | null> {
      const editor = env.VISUAL || env.EDITOR
      if (!editor || !process.stdin.isTTY) {
        throw new ClawctlError('USAGE', 'No editor is configured.', {
          hint: 'Set EDITOR in a terminal, or give the whole object with --file FILE (- is stdin).',
        })
      }
      const path = join(folder(), 'control-api.json')
      await writeFile(path, text, { mode: 0o600 })
      try {
        // The variable may contain arguments, as for git.
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
