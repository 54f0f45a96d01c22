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

/**
 * Mints an installation token and writes it to an environment file of a service, or returns it for stdout.
 * @param out the file, or null for stdout
 */
export async function mintToken(out: string | null, ports: MintPorts): Promise<InstallationToken> {
  const minted = await ports.mint()
  ports.mask(minted.token)
  if (out !== null) {
    await ports.writeEnvFile(out, { GITHUB_TOKEN: minted.token, GITHUB_TOKEN_EXPIRES_AT: minted.expiresAt })
  }
  return minted
}
