import { styleText } from 'node:util'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseJson } from '../src/lib/domain/json.js'
import { REGISTRY_PATH } from '../src/lib/domain/paths.js'
import { parseRegistry } from '../src/lib/domain/registry/registry.js'
import type { Checkout } from './checkout.js'
import type { Sandbox } from './sandbox.js'
import { type Signals, withSignals } from './signals.js'
import { runProgram } from './spawn.js'
import { parseRole, type SandboxRequest, startSandbox } from './start.js'

interface Scene {
  /** Printed before the commands. */
  about: string
  as: string
  /** Arguments of clawctl. */
  commands: readonly (readonly string[])[]
  exit: number
  before?: (sandbox: Sandbox) => void
}

export interface DemoStep {
  as: string
  command: string
  exitCode: number
  expected: number
  /** What the command printed, under --json. */
  answer: unknown
}

/** The tour: the whole life of a small fleet, in real commands. The hosts are the first two of the registry. */
function scenes(first: string, second: string): Scene[] {
  return [
    {
      about: 'On a laptop: show the desired and the running instances.',
      as: 'laptop',
      commands: [['fleet', 'status']],
      exit: 0,
    },
    {
      about: `${second} is in the registry but does not run yet. A person starts it from chat.`,
      as: first,
      commands: [['fleet', 'deploy', second, '--requested-by', 'Jo', '--wait']],
      exit: 0,
    },
    {
      about: 'An agent may not deploy itself, and may not deploy the whole fleet without a person.',
      as: second,
      commands: [
        ['fleet', 'deploy', second],
        ['fleet', 'deploy', 'all'],
      ],
      exit: 3,
    },
    {
      about: 'A maintainer rolls the fleet: one host at a time, the canary first.',
      as: 'laptop',
      commands: [['fleet', 'deploy', 'all', '--requested-by', 'Jo', '--wait']],
      exit: 0,
    },
    {
      about:
        'A bad image is published. There is no outage: the old machine serves until the candidate has passed its checks.',
      as: 'laptop',
      commands: [['fleet', 'deploy', second, '--wait']],
      exit: 6,
      before: (sandbox) => {
        sandbox.publishImage()
        sandbox.faults.add({ on: 'host', kind: 'bad-token', id: null })
      },
    },
    {
      about: 'The reason: diagnostics of the candidate, taken before it was removed.',
      as: 'laptop',
      commands: [['fleet', 'show', second]],
      exit: 0,
    },
    {
      about: 'The fleet is unchanged, the AMI is marked as failed, and the history shows who asked for what.',
      as: 'laptop',
      commands: [
        ['fleet', 'status'],
        ['fleet', 'history'],
      ],
      exit: 0,
    },
  ]
}

/**
 * Runs the tour. The commands' output goes to stdout, the headings to stderr.
 * @throws ClawctlError SANDBOX_FAILED if a command did not end as expected
 */
export function playDemo(request: SandboxRequest, options: { quiet: boolean }): Promise<DemoStep[]> {
  return withSignals((signals) => play(request, options, signals))
}

async function play(request: SandboxRequest, options: { quiet: boolean }, signals: Signals): Promise<DemoStep[]> {
  const sandbox = await startSandbox(request)
  const say = (text: string) => {
    if (!options.quiet) process.stderr.write(`${process.stderr.isTTY ? styleText('cyan', text) : text}\n`)
  }
  const steps: DemoStep[] = []
  try {
    const { first, second } = await cast(sandbox.checkout)
    for (const scene of scenes(first, second)) {
      scene.before?.(sandbox)
      say(`\n# ${scene.about}`)
      const env = await sandbox.environment(await parseRole(scene.as, sandbox.checkout, undefined), request.env)
      for (const args of scene.commands) {
        const command = `clawctl ${args.join(' ')}`
        say(`${scene.as}$ ${command}`)
        let output = ''
        const exitCode = options.quiet
          ? await runProgram(['clawctl', ...args, '--json'], env, signals, (text) => {
              output += text
            })
          : await runProgram(['clawctl', ...args], env, signals)
        if (signals.first)
          throw new ClawctlError('CANCELLED', 'The tour was interrupted.', { hint: 'Everything was removed.' })
        steps.push({ as: scene.as, command, exitCode, expected: scene.exit, answer: parseJson(output) })
        if (exitCode !== scene.exit) {
          throw new ClawctlError('SANDBOX_FAILED', `\`${command}\` ended with ${exitCode} instead of ${scene.exit}.`, {
            hint: 'This is a defect: the output above shows the cause.',
            partial: { steps },
          })
        }
        if (exitCode !== 0) say(`(exit ${exitCode}, as expected)`)
      }
    }
    return steps
  } finally {
    await sandbox.close()
  }
}

async function cast(checkout: Checkout): Promise<{ first: string; second: string }> {
  const ids = parseRegistry(await checkout.registryText(), REGISTRY_PATH).map((entry) => entry.id)
  const first = ids.find((id) => id === 'clawdinator-1')
  const second = ids.find((id) => id !== 'clawdinator-1')
  if (first && second) return { first, second }
  throw new ClawctlError('USAGE', 'The tour needs clawdinator-1 and a second instance in the registry.', {
    hint: 'Run it in a checkout that has both.',
  })
}
