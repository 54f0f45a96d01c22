import { readFileSync } from 'node:fs'
import { ClawctlError } from '../../domain/errors.js'
import { type Env, githubApiUrl, read } from '../settings.js'
import { parsePrivateKey } from './appKey.js'

const KEY = 'GITHUB_APP_PRIVATE_KEY'
const KEY_FILE = 'GITHUB_APP_PRIVATE_KEY_FILE'

export interface AppFlags {
  appId?: string | undefined
  installationId?: string | undefined
}

/** Whether a GitHub App is configured. */
export function hasGithubApp(env: Env): boolean {
  return ['GITHUB_APP_ID', 'GITHUB_APP_INSTALLATION_ID', KEY, KEY_FILE].some((name) => read(env, name) !== undefined)
}

/**
 * The App as variables and options name it; the key comes only from a file or a variable. @throws ClawctlError
 * NOT_CONFIGURED
 */
export function githubAppSettings(env: Env, flags: AppFlags = {}) {
  const appId = flags.appId ?? read(env, 'GITHUB_APP_ID')
  const installationId = flags.installationId ?? read(env, 'GITHUB_APP_INSTALLATION_ID')
  const file = read(env, KEY_FILE)
  const missing = [
    ...(appId ? [] : ['GITHUB_APP_ID']),
    ...(installationId ? [] : ['GITHUB_APP_INSTALLATION_ID']),
    ...(file || read(env, KEY) ? [] : [KEY_FILE]),
  ]
  if (!appId || !installationId || missing.length > 0) {
    throw new ClawctlError('NOT_CONFIGURED', `The GitHub App is not configured: ${missing.join(', ')} is not set.`, {
      hint: `Set GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID, and ${KEY_FILE} to the path of its .pem file (or ${KEY} to its content).`,
    })
  }
  if (!/^[A-Za-z0-9.]{1,64}$/.test(appId)) throw notAnId('GITHUB_APP_ID', "the App's number or client id")
  if (!/^[0-9]{1,20}$/.test(installationId)) {
    throw notAnId('GITHUB_APP_INSTALLATION_ID', "the number at the end of the installation's address")
  }
  return {
    apiUrl: githubApiUrl(env),
    appId,
    installationId,
    privateKey: file ? parsePrivateKey(fileText(file), file) : parsePrivateKey(env[KEY] ?? '', KEY),
  }
}

function notAnId(name: string, what: string): ClawctlError {
  return new ClawctlError('NOT_CONFIGURED', `${name} is malformed.`, { hint: `Set it to ${what}.` })
}

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ClawctlError('NOT_CONFIGURED', `${path} can't be read (${code}).`, {
      hint: `Set ${KEY_FILE} to the App's .pem file, readable by the user that runs clawctl.`,
    })
  }
}
