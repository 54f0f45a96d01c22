import { execa } from 'execa'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { type Signals, signalExitCode } from './signals.js'

/**
 * Runs a program with this process's input and output, and resolves to its exit code (128 + n for signal n, as in
 * shells). A terminal sends Ctrl-C to both processes, so it is not passed on; a signal that only this process gets is
 * passed on.
 * @throws ClawctlError USAGE if it can't be started
 */
export async function runProgram(
  command: readonly [string, ...string[]],
  env: Record<string, string>,
  signals: Signals,
  /** Receives the program's standard output. */
  onOutput?: (text: string) => void,
): Promise<number> {
  if (signals.first) return signalExitCode(signals.first)
  const [program, ...args] = command
  const child = execa(program, args, {
    env,
    extendEnv: false,
    stdio: ['inherit', onOutput ? 'pipe' : 'inherit', 'inherit'],
    buffer: false,
    reject: false,
    cleanup: false,
    forceKillAfterDelay: false,
  })
  child.stdout?.setEncoding('utf8').on('data', (text) => onOutput?.(text))
  signals.forwardTo((signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
  try {
    const { exitCode, signal, cause } = await child
    if (exitCode !== undefined) return exitCode
    if (signal !== undefined) return signalExitCode(signal)
    const { code, message } = cause as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'There is no such program' : message
    throw new ClawctlError('USAGE', `${JSON.stringify(program)} can't be run: ${why}.`, {
      hint: 'Write a program and its arguments after --; for shell syntax: -- bash -c "…".',
    })
  } finally {
    signals.forwardTo(null)
  }
}
