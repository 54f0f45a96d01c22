import { option, string } from '@oclif/core/flags'
import { FAULT_HELP, TOFU_CHOICES, type TofuChoice } from '../domain/sandboxOptions.js'

/** Options of every command that starts a sandbox. */
export const sandboxFlags = {
  registry: string({ summary: 'Registry file. Default: nix/instances.json of the checkout.', helpValue: 'FILE' }),
  running: string({
    summary: 'Instances that run from the start, on the older AMI. Default: clawdinator-1.',
    helpValue: 'ID,…',
    multiple: true,
    delimiter: ',',
  }),
  fault: string({
    summary: 'A fault to inject; repeatable.',
    description: FAULT_HELP.join('\n'),
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
  }),
  tofu: option({
    options: TOFU_CHOICES,
    summary: '`tofu` in ci mode: a stand-in that reads the stack (auto), or the one in PATH (real).',
    default: 'auto',
  })(),
}

export const asFlag = string({
  summary: 'Who runs the command: laptop, ci, or an instance id.',
  description:
    'A laptop and an instance get the Control API, GitHub for pull requests, and no AWS variables; ci gets AWS and OpenTofu.',
  helpValue: 'laptop|ci|INSTANCE',
  default: 'laptop',
})

interface SandboxFlags {
  registry?: string | undefined
  running?: string[] | undefined
  fault?: string[] | undefined
  tofu?: TofuChoice
}

/** The sandbox with these options. It is a separate program, loaded only here. */
export async function loadSandbox(packageRoot: string, checkout: string | null, flags: SandboxFlags = {}) {
  const sandbox = await import('../../../sandbox/index.js')
  const request: Parameters<typeof sandbox.playDemo>[0] = {
    packageRoot,
    checkout,
    registry: flags.registry,
    running: flags.running,
    faults: flags.fault ?? [],
    tofu: flags.tofu ?? 'auto',
    env: process.env,
  }
  return { ...sandbox, request }
}
