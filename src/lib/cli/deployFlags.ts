import { boolean, option, string } from '@oclif/core/flags'
import type { CancelRequest } from '../domain/contract/freeze.js'
import { CONFIG_REVISIONS, ORDER_INPUTS, STRATEGIES } from '../domain/contract/order.js'
import { HEALTH_TIMEOUT } from '../domain/deploy/rollout.js'
import { durationFlag } from './flags.js'

export const WAIT = '30m'

/** Flags about the requester. */
export const askerFlags = {
  'requested-by': string({
    summary: "The requester's name. Without it, a request from an instance counts as a bot's.",
    helpValue: 'NAME',
    env: ORDER_INPUTS.requestedBy.variable,
  }),
  code: string({
    summary: "The requester's one-time code, which verifies the name: `people add` enrols a person.",
    helpValue: 'CODE',
    dependsOn: ['requested-by'],
  }),
}

/** @param caller the instance that sends the request, or null */
export function askerOfFlags(
  flags: { 'requested-by'?: string | undefined; code?: string | undefined },
  caller: string | null,
): CancelRequest {
  const { 'requested-by': requestedBy, code } = flags
  return { ...(caller === null ? {} : { caller }), ...(requestedBy ? { requestedBy } : {}), ...(code ? { code } : {}) }
}

/** Options of `fleet deploy`. Those for ci mode only begin with "ci mode:". */
export const deployFlags = {
  ami: string({
    summary: 'Deploy this AMI instead of the latest, for example to roll back.',
    helpValue: 'ami-…',
    env: ORDER_INPUTS.amiOverride.variable,
  }),
  ...askerFlags,
  'request-id': string({
    summary: 'Id of the request. The same id again starts no second run.',
    helpValue: 'ID',
    env: ORDER_INPUTS.requestId.variable,
  }),
  retire: boolean({
    summary: 'Destroy the machine of this instance, which has left the registry, instead of deploying.',
    env: ORDER_INPUTS.retire.variable,
  }),
  strategy: option({
    options: STRATEGIES,
    summary:
      'How to replace a host: `handover` starts the new machine first, `replace` stops the old one first. Default: DEPLOY_STRATEGY of the repository.',
    env: ORDER_INPUTS.strategy.variable,
  })(),
  yes: boolean({ char: 'y', summary: 'Retire without asking on the terminal.', dependsOn: ['retire'] }),
  'config-revision': option({
    options: CONFIG_REVISIONS,
    summary: "Configuration of the new machine: of the image's commit, or the newest in its bundle. Default: image.",
    env: ORDER_INPUTS.configRevision.variable,
  })(),
  wait: boolean({ summary: 'Follow the run to its end.' }),
  timeout: durationFlag({ summary: 'How long to --wait.', default: WAIT }),
  'plan-only': boolean({ summary: 'ci mode: plan and guard, apply nothing.' }),
  'on-failure': option({
    options: ['rollback', 'stop'] as const,
    summary: 'ci mode: remove a candidate that failed, or keep it for inspection. Default: rollback.',
    env: 'CLAWCTL_ON_FAILURE',
  })(),
  'health-timeout': durationFlag({
    summary: 'ci mode: how long a host may take to become healthy.',
    default: HEALTH_TIMEOUT,
    env: 'CLAWCTL_HEALTH_TIMEOUT',
  }),
}
