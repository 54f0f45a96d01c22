import { string } from '@oclif/core/flags'

export const secretsDirFlag = string({
  summary: 'Checkout of nix-secrets: a directory with each secret as NAME.age. Default: CLAWCTL_SECRETS_DIR.',
  helpValue: 'DIR',
})

/** Of `bootstrap upload` and `secrets check`. */
export const identityFlag = string({
  summary:
    "Age key of a maintainer or of CI. Decrypts the instances' identities (identities/ID.age of the secrets directory).",
  helpValue: 'FILE',
})

export const maintainerFlag = string({
  summary: 'Age key of a maintainer. Decrypts the secrets in memory, to encrypt them again.',
  helpValue: 'FILE',
})

export const identitiesDirFlag = (summary: string) => string({ summary, helpValue: 'DIR' })

export const extraSecretFlag = string({
  summary: 'Another shared secret for every bundle; repeatable.',
  helpValue: 'NAME',
  multiple: true,
})
