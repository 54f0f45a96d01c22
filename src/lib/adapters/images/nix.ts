import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { ClawctlError } from '../../domain/errors.js'
import { IMAGE_INFO_NAME } from '../../domain/images/build.js'
import type { BuildPorts, Nix } from '../../ops/images/buildImage.js'

export interface NixOptions {
  /** Called with every line of nix's standard error. */
  onOutput?: (line: string) => void
  /** Aborted when clawctl is being stopped. */
  signal: AbortSignal
}

/** Last lines of nix's output that an error repeats. */
const LAST_LINES = 20

/** Nix as a child process. */
export function createNix({ onOutput, signal }: NixOptions): Nix {
  return {
    async run(args) {
      if (signal.aborted) throw cancelled()
      const last: string[] = []
      // Nix gets its own process group: a terminal sends Ctrl-C to the whole foreground group, and clawctl already
      // passes it on.
      const child = execa('nix', args, { stdin: 'ignore', reject: false, detached: true, buffer: { stderr: false } })
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
      if (result.exitCode === undefined && result.signal === undefined) throw notStarted(result.cause ?? result)
      throw failed(args[0] ?? '', last, result.exitCode ?? null)
    },
  }
}

function notStarted(cause: unknown): ClawctlError {
  const { code } = cause as NodeJS.ErrnoException
  if (code !== 'ENOENT') return new ClawctlError('TOOL_MISSING', `nix can't be started (${code}).`, { cause })
  return new ClawctlError('TOOL_MISSING', 'nix is not installed, but images are built with Nix.', {
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
      ? 'Free some space (`nix-collect-garbage` removes unused store paths), then run the command again.'
      : offline
        ? "Nix downloads the flake's inputs: check the network, then run the command again."
        : 'The output of nix is above; `nix log` shows the log of a derivation.',
    details: last.filter((line) => !/^\s*warning:/.test(line)),
  })
}

function cancelled(): ClawctlError {
  return new ClawctlError('CANCELLED', 'The build was interrupted.', {
    hint: 'Run the command again: nix keeps finished derivations.',
  })
}

export const outputFolder: BuildPorts['output'] = {
  prepare: (folder) =>
    writing(folder, async () => {
      await mkdir(folder, { recursive: true })
      await rm(join(folder, IMAGE_INFO_NAME), { force: true })
    }),
  commit: (folder, text) =>
    writing(folder, async () => {
      const temporary = join(folder, `.${IMAGE_INFO_NAME}.${process.pid}`)
      await writeFile(temporary, text)
      await rename(temporary, join(folder, IMAGE_INFO_NAME))
    }),
}

async function writing(folder: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClawctlError('BUILD_FAILED', `${folder} can't be written (${code}).`, {
      hint: code === 'ENOSPC' ? 'Free some space.' : 'Pass another folder with --out.',
      cause,
    })
  }
}
