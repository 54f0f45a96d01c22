import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import { ClawctlError } from '../domain/errors.js'
import { readRegistry } from '../ops/registry/readRegistry.js'
import { encryptedFor, type TokenChange, type TokenDestination } from '../ops/tokens/tokens.js'
import { secretsDirFlag } from './bundleFlags.js'
import type { Context } from './context.js'

export const TOKEN_DIRECT = { what: 'Token commands use' }

export const tokenArgs = {
  id: stringArg({
    description: 'An instance id; with --read a name for who has the token, such as phone.',
    required: true,
  }),
}

const read = boolean({ summary: 'A token that looks at the fleet and changes nothing, of a phone or a dashboard.' })
export const readFlag = { read }
export const tokenFlags = {
  read,
  'secrets-dir': secretsDirFlag,
  to: string({ summary: 'With --read: a new file for the token, which only you may read.', helpValue: 'FILE' }),
}

/** @throws ClawctlError USAGE */
export async function destinationOf(
  context: Context,
  flags: { read: boolean; to?: string | undefined },
): Promise<TokenDestination> {
  if (!flags.read) {
    const { secrets, keys, registry } = await context.pick('secrets', 'keys', 'registry')
    return encryptedFor({ secrets, keys, registry: await readRegistry(registry) })
  }
  const { to } = flags
  if (to === undefined) {
    throw new ClawctlError('USAGE', 'A token that only reads goes into a file.', {
      hint: 'Name a new one with --to FILE.',
    })
  }
  return {
    async write(_id, token) {
      const { writeFile } = await import('node:fs/promises')
      await writeFile(to, `${token}\n`, { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
        throw new ClawctlError('NOT_WRITABLE', `${to} can't be made (${error.code}).`, { hint: 'Name a new file.' })
      })
      return to
    },
  }
}

export function renderTokenChange({ id, scope, accepted, written }: TokenChange): string {
  if (accepted === 0) return `No token of ${id} is accepted any more, within five minutes.`
  const lines = written === null ? [] : [`The new token of ${id} is in ${written}.`]
  lines.push(`The Control API accepts ${accepted === 1 ? 'one token' : 'both tokens'} of ${id}, within five minutes.`)
  if (written !== null && scope === 'deploy')
    lines.push(`Commit the file, then: gh workflow run bootstrap-upload.yml -f target=${id}`)
  if (accepted > 1) lines.push(`When ${id} uses the new one: clawctl token rotate ${id} --end`)
  return lines.join('\n')
}
