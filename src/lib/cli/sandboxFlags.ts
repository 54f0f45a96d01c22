import { option, string } from '@oclif/core/flags'
import { FAULT_HELP, TOFU_CHOICES, type TofuChoice } from '../domain/sandboxOptions.js'

/** Options of every command that starts a sandbox. */
export const sandboxFlags = {
  registry: string({ summary: "Another registry than the checkout's nix/instances.json.", helpValue: 'FILE' }),
  running: string({
    summary: 'Instances that run at the start, on the older AMI. Default: clawdinator-1.',
    helpValue: 'ID,…',
    multiple: true,
    delimiter: ',',
  }),
  fault: string({
    summary: 'What is to go wrong; may be given more than once.',
    description: FAULT_HELP.join('\n'),
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
  }),
  tofu: option({
    options: TOFU_CHOICES,
    summary: 'The `tofu` of the direct plane: a stand-in that reads the stack (auto), or the one in PATH.',
    default: 'auto',
  })(),
}

export const asFlag = string({
  summary: 'Who runs the command: laptop, ci, or an instance id.',
  description:
    'A laptop and an instance get the Control API, GitHub for pull requests, and no AWS variable at all; ci gets the direct plane.',
  helpValue: 'laptop|ci|INSTANCE',
  default: 'laptop',
})

interface SandboxFlags {
  registry?: string | undefined
  running?: string[] | undefined
  fault?: string[] | undefined
  tofu?: TofuChoice
}

/** The sandbox with what the options ask for. It is a program of its own, loaded only here. */
export async function loadSandbox(flags: SandboxFlags, at: { packageRoot: string; checkout: string | null }) {
  const sandbox = await import('../../../sandbox/index.js')
  const request: Parameters<typeof sandbox.playDemo>[0] = {
    ...at,
    registry: flags.registry,
    running: flags.running,
    faults: flags.fault ?? [],
    tofu: flags.tofu ?? 'auto',
    env: process.env,
  }
  return { ...sandbox, request }
}
