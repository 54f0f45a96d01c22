import { UNSET_FOREIGN } from './environment.js'
import { shellQuote } from './shell.js'
import { withSignals } from './signals.js'
import { Checkout, parseRole, type SandboxRequest, startSandbox } from './start.js'

export interface OpenedSandbox {
  controlApiUrl: string
  /** The role's environment variables. */
  env: Record<string, string>
  /** The same as lines for a shell's `eval`. */
  exports: string
}

/** Keeps a sandbox open until a signal comes; `onOpen` gets the settings for another terminal. */
export function keepSandbox(
  request: SandboxRequest,
  role: string,
  onOpen: (opened: OpenedSandbox) => void,
): Promise<void> {
  return withSignals(async (signals) => {
    const sandbox = await startSandbox(request)
    try {
      const { checkoutRoot, registryFile, controlApiUrl } = sandbox.session
      const parsed = await parseRole(role, new Checkout(checkoutRoot, registryFile), request.running)
      const { PATH = '', ...env } = await sandbox.environment(parsed, {})
      const folders = PATH.replace(/:$/, '')
      const exports = [
        UNSET_FOREIGN,
        ...Object.entries(env).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
        `export PATH=${shellQuote(folders)}:"$PATH"`,
      ].join('\n')
      onOpen({ controlApiUrl, env: { ...env, PATH: folders }, exports })
      await signals.received
    } finally {
      await sandbox.close()
    }
  })
}
