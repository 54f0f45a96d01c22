export interface InstallationToken {
  token: string
  /** ISO time. */
  expiresAt: string
  /** Its permissions: `contents` → `read`. */
  permissions: Readonly<Record<string, string>>
}

export interface MintPorts {
  mint(): Promise<InstallationToken>
  /** Replaces the file atomically, readable by its owner and group. @throws ClawctlError USAGE if it can't be written */
  writeEnvFile(path: string, variables: Readonly<Record<string, string>>): Promise<void>
  /** Keeps the text out of the CI job's log; does nothing elsewhere. */
  mask(secret: string): void
}
