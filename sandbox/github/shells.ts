import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface ShellCommand {
  /** For the log. */
  shown: string
  file: string
  args: string[]
  extension: string
}

const BUILT_IN: Record<string, { format: string; extension: string }> = {
  bash: { format: 'bash --noprofile --norc -e -o pipefail {0}', extension: '.sh' },
  sh: { format: 'sh -e {0}', extension: '.sh' },
  python: { format: 'python {0}', extension: '.py' },
}

function isInstalled(program: string, path: string): boolean {
  return path.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return directory !== ''
    } catch {
      return false
    }
  })
}

/**
 * The command of a step's shell. Without `shell:` it is bash without pipefail, as on GitHub.
 * @throws Error if the shell is neither built in nor a format with `{0}`
 */
export function shellCommand(shell: string | null, script: (extension: string) => string, path: string): ShellCommand {
  const builtIn = shell === null ? undefined : BUILT_IN[shell.trim()]
  const unspecified = isInstalled('bash', path) ? 'bash -e {0}' : 'sh -e {0}'
  const format = shell === null ? unspecified : (builtIn?.format ?? shell)
  if (!format.includes('{0}')) {
    throw new Error(
      `Invalid shell option "${shell}". Shell must be a valid built-in (bash, sh, python) or a format string ` +
        "containing '{0}'. The sandbox runs no pwsh, powershell or cmd.",
    )
  }
  const extension = builtIn?.extension ?? (shell === null ? '.sh' : '')
  const [file = 'sh', ...args] = format.split(/\s+/).filter((word) => word !== '')
  return { shown: format, file, args: args.map((arg) => arg.replace('{0}', script(extension))), extension }
}
