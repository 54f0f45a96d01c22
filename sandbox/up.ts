import { execa } from 'execa'
import * as z from 'zod/mini'
import { failureSchema } from '../src/lib/domain/contract/failure.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseAs } from '../src/lib/domain/json.js'
import { shellQuote, UNSET_FOREIGN } from './environment.js'
import { withSignals } from './signals.js'
import { parseRole, type SandboxRequest, startSandbox } from './start.js'

export interface OpenedSandbox {
  controlApiUrl: string
  /** The role's environment variables. */
  env: Record<string, string>
}

/** The beginning of the prompt in a sandbox. */
export const PROMPT = '(sandbox) '

/** For the `eval` of bash and zsh: the sandbox's variables, its programs first in PATH, and the prompt. */
export function shellExports({ env: { PATH = '', ...env } }: OpenedSandbox): string {
  return [
    UNSET_FOREIGN,
    ...Object.entries(env).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
    `export PATH=${shellQuote(PATH)}:"$PATH"`,
    `[ -z "\${PS1-}" ] || PS1=${shellQuote(PROMPT)}"$PS1"`,
  ].join('\n')
}

/** Reverts `shellExports`. @param folder the sandbox's */
export function shellUnset(folder: string): string {
  return [
    UNSET_FOREIGN,
    `export PATH="$(printf %s "$PATH" | tr : '\\n' | grep -vF ${shellQuote(folder)} | paste -sd : -)"`,
    `PS1="\${PS1#${shellQuote(PROMPT)}}"`,
  ].join('\n')
}

/**
 * Keeps a sandbox until a signal arrives, it is ended, or its time is up; `onOpen` receives the variables for other
 * terminals.
 * @param lifeMs null for no limit
 */
export function keepSandbox(
  request: SandboxRequest,
  role: string,
  lifeMs: number | null,
  onOpen: (opened: OpenedSandbox) => void,
): Promise<void> {
  return withSignals(async (signals) => {
    let onStop = () => {}
    const stopped = new Promise<void>((resolve) => {
      onStop = resolve
    })
    const sandbox = await startSandbox({ ...request, onStop })
    const limit = lifeMs === null ? undefined : setTimeout(onStop, lifeMs)
    try {
      const { controlApiUrl } = sandbox.session
      const parsed = await parseRole(role, sandbox.checkout, request.running)
      const { PATH = '', ...env } = await sandbox.environment(parsed, {})
      onOpen({ controlApiUrl, env: { ...env, PATH: PATH.replace(/:$/, '') } })
      await Promise.race([signals.received, stopped])
    } finally {
      clearTimeout(limit)
      await sandbox.close()
    }
  })
}

const openedSchema = z.object({
  sandbox: z.object({ controlApiUrl: z.string(), env: z.record(z.string(), z.string()) }),
})

/**
 * Starts a sandbox that keeps running after this process.
 * @param argv of `clawctl` for one in the foreground, with --json
 * @throws ClawctlError with the sandbox's own failure, else SANDBOX_FAILED
 */
export async function detachSandbox(argv: readonly string[], program: string, env: NodeJS.ProcessEnv) {
  const child = execa(process.execPath, [program, ...argv], {
    env,
    extendEnv: false,
    stdio: ['ignore', 'pipe', 'ignore'],
    buffer: false,
    detached: true,
    cleanup: false,
    reject: false,
  })
  let text = ''
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    text += chunk
    const opened = parseAs(openedSchema, text)
    if (!opened) continue
    child.unref()
    return opened.sandbox
  }
  const failed = parseAs(failureSchema, text)
  if (!failed) throw new ClawctlError('SANDBOX_FAILED', 'The sandbox ended before it was up.')
  const { code, message, hint } = failed.error
  throw new ClawctlError(code, message, hint === undefined ? {} : { hint })
}
