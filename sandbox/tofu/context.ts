import type { Invocation } from './args.js'
import { Backend, type BackendConfig, recallBackend } from './backend.js'
import { createS3 } from './clients.js'
import { Diagnostic, formatDiagnostic } from './diagnostic.js'
import { readStack } from './stack.js'
import type { State } from './state.js'

export interface Io {
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  out(text: string): void
  err(text: string): void
  /** Aborted by the first interrupt. */
  signal: AbortSignal
}

export interface Context extends Io {
  invocation: Invocation
  /** The stack's directory: -chdir, else the working directory. */
  dir: string
  dataDir: string
}

export function reportError({ err }: Pick<Io, 'err'>, error: unknown): void {
  const { message, summary = message || String(error), detail = '' } = error as Error & Partial<Diagnostic>
  err(formatDiagnostic('Error', summary, detail))
}

export function takeArguments({ positional }: Invocation, most: number): readonly string[] {
  if (positional.length <= most) return positional
  throw new Diagnostic('Too many command line arguments', 'To specify a working directory, use the global -chdir flag.')
}

export async function openBackend(config: BackendConfig): Promise<Backend> {
  const s3 = await createS3(config.region ?? '', config.use_path_style === 'true')
  return new Backend(s3, config)
}

/** The backend that `init` has set up here. @throws Diagnostic if there is none, or the stack's block has changed */
export function initialized({ dir, dataDir }: Pick<Context, 'dir' | 'dataDir'>): Promise<Backend> {
  return openBackend(recallBackend(dataDir, readStack(dir).backend))
}

export async function readState(context: Context): Promise<State> {
  return (await initialized(context)).readState()
}

/** Runs the work under the lock. A lock that can't be released is an additional error. */
export async function locked<T>(
  context: Context,
  backend: Backend,
  operation: Parameters<Backend['lock']>[0],
  work: () => Promise<T>,
): Promise<T> {
  const { invocation, signal, out } = context
  if (!invocation.flag('lock', true)) return work()
  const release = await backend.lock(operation, invocation.lockTimeoutMs, signal, (line) => out(`${line}\n`))
  let result: T
  try {
    result = await work()
  } catch (error) {
    await release().catch((second) => reportError(context, second))
    throw error
  }
  await release()
  return result
}
