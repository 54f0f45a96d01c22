import { basename } from 'node:path'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseFault } from '../src/lib/domain/sandboxOptions.js'
import { Checkout } from './checkout.js'
import { environmentFor, shellQuote } from './environment.js'
import { currentSession, lendFaults } from './session.js'
import { type Signals, withSignals } from './signals.js'
import { runProgram } from './spawn.js'
import { parseRole, type SandboxRequest, startSandbox } from './start.js'
import { PROMPT } from './up.js'

/**
 * Runs a command in a fresh sandbox, or in the sandbox of this process, and resolves to its exit code.
 * A fresh sandbox is removed completely afterwards.
 */
export function runInSandbox(
  request: SandboxRequest,
  role: string,
  command: readonly [string, ...string[]],
): Promise<number> {
  return withSignals(async (signals) => {
    const session = await currentSession(request.env)
    if (session) return joinAndRun(session, request, role, command, signals)
    const sandbox = await startSandbox(request)
    try {
      const parsed = await parseRole(role, sandbox.checkout, request.running)
      const env = withPrompt(command, await sandbox.environment(parsed, request.env))
      return await runProgram(command, env, signals)
    } finally {
      await sandbox.close()
    }
  })
}

/** A shell on a terminal shows that it is in a sandbox: bash in each prompt, others once. */
function withPrompt([program, ...args]: readonly [string, ...string[]], env: Record<string, string>) {
  const name = basename(program)
  if (!['bash', 'zsh', 'fish', 'sh'].includes(name) || args.length > 0 || !process.stdin.isTTY) return env
  if (name !== 'bash') {
    process.stderr.write('This shell works in a sandbox; exit ends it.\n')
    return env
  }
  const say = `case "$PS1" in ${shellQuote(PROMPT)}*) ;; *) PS1=${shellQuote(PROMPT)}"$PS1" ;; esac`
  return { ...env, PROMPT_COMMAND: env.PROMPT_COMMAND ? `${env.PROMPT_COMMAND}; ${say}` : say }
}

async function joinAndRun(
  session: NonNullable<Awaited<ReturnType<typeof currentSession>>>,
  request: SandboxRequest,
  role: string,
  command: readonly [string, ...string[]],
  signals: Signals,
): Promise<number> {
  if (request.registry !== undefined || request.running !== undefined || request.tofu !== 'auto') {
    throw new ClawctlError(
      'USAGE',
      '--registry, --running and --tofu need a fresh sandbox, but this command joins a running one.',
      {
        hint: 'Leave them out, or unset CLAWCTL_SANDBOX to get a fresh one.',
      },
    )
  }
  for (const fault of request.faults) parseFault(fault)
  const checkout = new Checkout(session.checkoutRoot, session.registryFile)
  const parsed = await parseRole(role, checkout, undefined)
  const env = await environmentFor(parsed, session, request.env, (folder) => checkout.copyTo(folder))
  const takeBack = request.faults.length > 0 ? await lendFaults(session, request.faults) : () => {}
  try {
    return await runProgram(command, env, signals)
  } finally {
    takeBack()
  }
}
