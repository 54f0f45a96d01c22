import type { InstallationToken, MintPorts } from './ports.js'

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
