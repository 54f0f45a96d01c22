import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { ClawctlError } from '../../domain/errors.js'
import type { Nix } from '../../ops/images/buildImage.js'

export interface NixOptions {
  /** The program, `nix` by default. */
  binary?: string
  /** Called with every line that nix says beside its result. */
  onOutput?: (line: string) => void
  /** Aborted when clawctl is being stopped. */
  signal: AbortSignal
}

/** As much of what nix said as an error repeats. */
const LAST_LINES = 20

/** Nix as a child process. */
export function createNix({ binary = 'nix', onOutput, signal }: NixOptions): Nix {
  return {
    async run(args) {
      if (signal.aborted) throw cancelled()
      const last: string[] = []
      // A group of its own: a terminal sends Ctrl-C to the whole foreground group, and nix gets it from us.
      const child = execa(binary, args, { stdin: 'ignore', reject: false, detached: true, buffer: { stderr: false } })
      const stop = () => child.kill('SIGINT')
      signal.addEventListener('abort', stop, { once: true })
      createInterface({ input: child.stderr }).on('line', (line) => {
        last.push(line)
        if (last.length > LAST_LINES) last.shift()
        if (line.trim()) onOutput?.(line)
      })
      const result = await child.finally(() => signal.removeEventListener('abort', stop))
      if (result.exitCode === 0) return result.stdout
      if (signal.aborted) throw cancelled()
      if (result.exitCode === undefined && result.signal === undefined) throw notStarted(binary, result.cause ?? result)
      throw failed(args[0] ?? '', last, result.exitCode ?? null)
    },
  }
}

function notStarted(binary: string, cause: unknown): ClawctlError {
  const { code } = cause as NodeJS.ErrnoException
  if (code !== 'ENOENT') return new ClawctlError('TOOL_MISSING', `${binary} can't be started (${code}).`, { cause })
  return new ClawctlError('TOOL_MISSING', `${binary} is not installed, and images are built with Nix.`, {
    hint: 'Install it from https://docs.determinate.systems/determinate-nix/ or https://nixos.org/download, then open a new shell.',
    cause,
  })
}

function failed(what: string, last: readonly string[], exitCode: number | null): ClawctlError {
  const error = last.findLast((line) => /^\s*error:/.test(line))?.trim()
  const words = error ?? last.at(-1)?.trim() ?? `it ended with ${exitCode ?? 'a signal'}`
  const full = last.some((line) => /No space left on device/i.test(line))
  const offline = last.some((line) => /unable to download/i.test(line))
  return new ClawctlError('BUILD_FAILED', `nix ${what} failed: ${full ? 'No space left on device' : words}.`, {
    hint: full
      ? 'Free some space (`nix-collect-garbage` removes what nothing refers to), then run the command again.'
      : offline
        ? 'Nix fetches what the flake names: check the network, then run the command again.'
        : 'What nix said stands above; `nix log` shows the log of a derivation.',
    details: last.filter((line) => !/^\s*warning:/.test(line)),
  })
}

function cancelled(): ClawctlError {
  return new ClawctlError('CANCELLED', 'The build was interrupted.', {
    hint: 'Run the command again: nix keeps what it has built.',
  })
}
