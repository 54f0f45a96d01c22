import { FOREIGN } from './environment.js'
import type { Sandbox } from './sandbox.js'
import { shellQuote } from './shell.js'
import { Checkout, parseRole, type SandboxRequest, startSandbox } from './start.js'

/** A running sandbox and what a shell has to set to act in the role. */
export async function openSandbox(
  request: SandboxRequest,
  role: string,
): Promise<{ sandbox: Sandbox; env: Record<string, string>; exports: string }> {
  const sandbox = await startSandbox(request)
  try {
    const checkout = new Checkout(sandbox.session.checkoutRoot, sandbox.session.registryFile)
    const whole = await sandbox.environment(await parseRole(role, checkout, request.running), {})
    const { PATH: _, ...own } = whole
    const folders = (whole.PATH ?? '').replace(/:$/, '')
    const unset = Object.keys(request.env).filter((name) => FOREIGN.test(name) && !(name in own))
    const exports = [
      ...(unset.length > 0 ? [`unset ${unset.join(' ')}`] : []),
      ...Object.entries(own).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
      `export PATH=${shellQuote(folders)}:"$PATH"`,
    ].join('\n')
    return { sandbox, env: { ...own, PATH: folders }, exports }
  } catch (error) {
    await sandbox.close()
    throw error
  }
}
