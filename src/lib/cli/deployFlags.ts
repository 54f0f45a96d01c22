import { boolean, option, string } from '@oclif/core/flags'
import { CONFIG_REVISIONS, ORDER_INPUTS, STRATEGIES } from '../domain/contract/order.js'
import { durationFlag } from './flags.js'

export const WAIT = '30m'
const HEALTH = '15m'

/** Options of `fleet deploy`. What CI alone knows says so. */
export const deployFlags = {
  ami: string({
    summary: 'Deploy this AMI instead of the latest, to roll back say.',
    helpValue: 'ami-…',
    env: ORDER_INPUTS.amiOverride.variable,
  }),
  'requested-by': string({
    summary: 'The person who asked; without one, an instance that asks counts as a bot.',
    helpValue: 'NAME',
    env: ORDER_INPUTS.requestedBy.variable,
  }),
  'request-id': string({
    summary: 'Name the request yourself: the same id twice starts one run.',
    helpValue: 'ID',
    env: ORDER_INPUTS.requestId.variable,
  }),
  retire: boolean({
    summary: 'Destroy this instance, which has left the registry, instead of deploying it.',
    env: ORDER_INPUTS.retire.variable,
  }),
  strategy: option({
    options: STRATEGIES,
    summary:
      "How a host is replaced: by a successor that takes over, or by destroying it first. Default: the repository's.",
    env: ORDER_INPUTS.strategy.variable,
  })(),
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
    summary: 'ci mode: remove a successor that failed, or leave it for a look. Default: rollback.',
    env: 'CLAWCTL_ON_FAILURE',
  })(),
  'health-timeout': durationFlag({
    summary: 'ci mode: how long a host may take to become healthy.',
    default: HEALTH,
    env: 'CLAWCTL_HEALTH_TIMEOUT',
  }),
}
