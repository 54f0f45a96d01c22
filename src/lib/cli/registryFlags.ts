import { boolean, string } from '@oclif/core/flags'
import { DEFAULT_INSTANCE_TYPE, defaultPrefix } from '../domain/registry/addition.js'
import { secretsDirFlag } from './bundleFlags.js'

export const editFlags = {
  'dry-run': boolean({ summary: 'Show the diff, change nothing.' }),
  pr: boolean({
    summary: 'Open a pull request on GitHub instead of editing the checkout; updates the one that is open.',
  }),
  'requested-by': string({
    summary: "The requester's name, for the pull request.",
    helpValue: 'NAME',
    dependsOn: ['pr'],
  }),
}

/** The fields of an entry; a field that is left out follows the convention. */
export const entryFlags = {
  'instance-type': string({ summary: `EC2 instance type. Default: ${DEFAULT_INSTANCE_TYPE}.`, helpValue: 'TYPE' }),
  'bootstrap-prefix': string({
    summary: `S3 prefix of its bundle. Default: ${defaultPrefix('ID')}.`,
    helpValue: 'PREFIX',
  }),
  'discord-token-secret': string({
    summary: 'Name of the secret with its Discord token. Default: clawdinator-discord-token-N for clawdinator-N.',
    helpValue: 'NAME',
  }),
  host: string({ summary: 'Name of its NixOS configuration. Default: the id.', helpValue: 'HOST' }),
  'secrets-dir': secretsDirFlag,
}
