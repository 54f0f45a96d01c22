export interface InstallationToken {
  token: string
  /** ISO time. */
  expiresAt: string
  /** What it may do: `contents` → `read`. */
  permissions: Readonly<Record<string, string>>
}

export interface MintPorts {
  mint(): Promise<InstallationToken>
  /** Replaces the file at once, readable by its owner and group. @throws ClawctlError USAGE where it can't be written */
  writeEnvFile(path: string, variables: Readonly<Record<string, string>>): Promise<void>
  /** Keeps the text out of the CI job's log; does nothing elsewhere. */
  mask(secret: string): void
}
