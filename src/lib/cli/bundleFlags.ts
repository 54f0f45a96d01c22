import { string as stringArg } from '@oclif/core/args'
import { string } from '@oclif/core/flags'

export const bundleTarget = {
  target: stringArg({
    description: '`all`, or an instance id as `clawctl registry list` prints it; there is no default.',
    required: true,
  }),
}

export const secretsDirFlag = string({
  summary: 'Checkout of nix-secrets: a directory with each secret as NAME.age. Default: CLAWCTL_SECRETS_DIR.',
  helpValue: 'DIR',
})

export const identityFlag = string({
  summary: 'Age identity that every secret is test-decrypted with, in memory.',
  helpValue: 'FILE',
})

export const identitiesDirFlag = (summary: string) => string({ summary, helpValue: 'DIR' })

export const extraSecretFlag = string({
  summary: 'Another shared secret that every bundle gets; may be given more than once.',
  helpValue: 'NAME',
  multiple: true,
})
