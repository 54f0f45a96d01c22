import { string as stringArg } from '@oclif/core/args'
import { boolean, string } from '@oclif/core/flags'
import { secretsDirFlag } from './bundleFlags.js'

export const TOKEN_DIRECT = { what: 'Token commands use' }

export const tokenArgs = {
  id: stringArg({
    description: 'An instance id; with --read a name for the holder of the token, such as phone.',
    required: true,
  }),
}

export const readFlag = {
  read: boolean({ summary: 'A token that may only read, for a phone or a dashboard.' }),
}

export const tokenFlags = {
  ...readFlag,
  'secrets-dir': secretsDirFlag,
  to: string({ summary: 'With --read: a new file for the token, which only you may read.', helpValue: 'FILE' }),
}
