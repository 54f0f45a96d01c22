import { string as stringArg } from '@oclif/core/args'
import { string } from '@oclif/core/flags'
import { ClawctlError } from '../domain/errors.js'

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

/** @throws ClawctlError NOT_CI */
export function requireCi(mode: 'agent' | 'ci', what: string): void {
  if (mode === 'ci') return
  throw new ClawctlError('NOT_CI', `${what} needs AWS, which only CI has.`, {
    hint: 'Run the workflow bootstrap-upload.yml; with AWS credentials of your own, add --mode ci.',
  })
}
