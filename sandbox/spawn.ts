import { spawn } from 'node:child_process'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { type Signals, signalExitCode } from './signals.js'

/**
 * Runs a program with our own input and output and resolves to its exit code, 128 + n for signal n as shells have it.
 * Signals reach it: a terminal sends Ctrl-C to it as well, so we only wait; what is sent to us alone is passed on.
 * @throws ClawctlError USAGE where it can't be started
 */
export async function runProgram(
  command: readonly [string, ...string[]],
  env: Record<string, string>,
  signals: Signals,
  /** Gets the program's standard output instead of ours. */
  onOutput?: (text: string) => void,
): Promise<number> {
  if (signals.first) return signalExitCode(signals.first)
  const [program, ...args] = command
  const child = spawn(program, args, { env, stdio: ['inherit', onOutput ? 'pipe' : 'inherit', 'inherit'] })
  child.stdout?.setEncoding('utf8').on('data', (text) => onOutput?.(text))
  signals.forwardTo((signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        const why = error.code === 'ENOENT' ? 'There is no such program' : error.message
        reject(
          new ClawctlError('USAGE', `${JSON.stringify(program)} can't be run: ${why}.`, {
            hint: 'Give a program and its arguments after --; for shell syntax: -- bash -c "…".',
          }),
        )
      })
      child.once('close', (code, signal) => resolve(code ?? (signal ? signalExitCode(signal) : 1)))
    })
  } finally {
    signals.forwardTo(null)
  }
}
