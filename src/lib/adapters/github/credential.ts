import writeFileAtomic from 'write-file-atomic'
import { ClawctlError } from '../../domain/errors.js'
import type { MintPorts } from '../../ops/github/mintToken.js'
import { systemClock } from '../clock.js'
import type { Env } from '../settings.js'
import { createGithubApp } from './app.js'
import { type AppFlags, githubAppSettings, hasGithubApp } from './appSettings.js'
import type { GithubCredential } from './client.js'

/**
 * The credential for GitHub: GITHUB_TOKEN, else the GitHub App. A job that mints tokens for others has both.
 * @param options.token the token, if it is used. @throws ClawctlError NOT_CONFIGURED without either
 */
export function githubCredential(
  env: Env,
  options: {
    repo: string
    permissions: Readonly<Record<string, string>>
    userAgent: string
    token(): string
  },
): GithubCredential {
  const { repo, permissions, userAgent } = options
  if (env.GITHUB_TOKEN || !hasGithubApp(env)) {
    const token = options.token()
    return { token: async () => token }
  }
  const app = githubAppSettings(env)
  return createGithubApp({ ...app, repositories: [repo], permissions, clock: systemClock(), userAgent })
}

/** Mints tokens of the GitHub App for others. @throws ClawctlError NOT_CONFIGURED */
export function createMint(
  env: Env,
  options: AppFlags & {
    repositories: readonly string[] | undefined
    permissions: Readonly<Record<string, string>> | undefined
    userAgent: string
  },
): MintPorts {
  const { repositories, permissions, userAgent } = options
  const credential = createGithubApp({
    ...githubAppSettings(env, options),
    ...(repositories ? { repositories } : {}),
    ...(permissions ? { permissions } : {}),
    clock: systemClock(),
    userAgent,
  })
  return {
    mint: () => credential.app.minted(),
    writeEnvFile,
    mask(secret) {
      // The runner reads commands from both streams; stdout may be captured in a variable.
      if (env.GITHUB_ACTIONS === 'true') process.stderr.write(`::add-mask::${secret}\n`)
    },
  }
}

/** Readable only by owner and group: a service's group reads it. */
const ENV_FILE_MODE = 0o640

/**
 * `NAME=value` lines, in the format of systemd's EnvironmentFile. Replaced atomically.
 * @param variables values without line breaks
 * @throws ClawctlError USAGE
 */
async function writeEnvFile(path: string, variables: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`)
  try {
    await writeFileAtomic(path, lines.join(''), { mode: ENV_FILE_MODE })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ClawctlError('USAGE', `${path} can't be written (${code ?? 'unknown'}).`, {
      hint: 'Use a file in an existing folder that this user may write to.',
    })
  }
}
