import { systemClock } from '../../adapters/clock.js'
import { writeEnvFile } from '../../adapters/envFile.js'
import { createGithubApp } from '../../adapters/github/app.js'
import { type AppFlags, githubAppSettings, hasGithubApp } from '../../adapters/github/appSettings.js'
import type { GithubCredential } from '../../adapters/github/client.js'
import { createGithub } from '../../adapters/github/runs.js'
import { type Env, githubSettings, githubToken } from '../../adapters/settings.js'
import type { MintPorts } from '../../ops/github/ports.js'

export interface MintOptions extends AppFlags {
  repositories: readonly string[] | undefined
  permissions: Readonly<Record<string, string>> | undefined
}

/** @throws ClawctlError NOT_CONFIGURED */
export function mintPorts(env: Env, userAgent: string, options: MintOptions): MintPorts {
  const { repositories, permissions } = options
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
      // The runner reads commands from both streams; stdout may be somebody's variable.
      if (env.GITHUB_ACTIONS === 'true') process.stderr.write(`::add-mask::${secret}\n`)
    },
  }
}

/** The deploy workflow's runs as CI sees them. @throws ClawctlError NOT_CONFIGURED */
export function githubOf(env: Env, userAgent: string): ReturnType<typeof createGithub> {
  const settings = githubSettings(env)
  const credential = credentialOf(env, userAgent, settings.repo, { actions: 'read', contents: 'read' })
  return createGithub({ ...settings, ...(credential ?? tokenCredential(githubToken(env))), userAgent })
}

export function tokenCredential(token: string): GithubCredential {
  return { token: async () => token }
}

/** The GitHub App's, where there is no token: a job that mints tokens for others has both. Null without an App. */
export function credentialOf(
  env: Env,
  userAgent: string,
  repo: string,
  permissions: Readonly<Record<string, string>>,
): GithubCredential | null {
  if (env.GITHUB_TOKEN || !hasGithubApp(env)) return null
  const app = githubAppSettings(env)
  return createGithubApp({ ...app, repositories: [repo], permissions, clock: systemClock(), userAgent })
}
