import type { Fleet } from '../domain/contract/index.js'
import { REQUESTED_BY_PATTERN } from '../domain/contract/patterns.js'
import { ClawctlError } from '../domain/errors.js'

export interface LoginAnswers {
  url: string
  token: string
  /** Empty for none. */
  requestedBy: string
}

export interface LoginPorts {
  /** Reads the fleet with this URL and token. @throws ClawctlError NOT_CONFIGURED, UNAUTHORIZED, UPSTREAM */
  ask(url: string, token: string): Promise<Fleet>
  /** Returns where it saved them, and why the token is in a file. @throws ClawctlError NOT_WRITABLE */
  save(
    settings: { controlApiUrl: string; requestedBy?: string },
    token: string,
  ): Promise<{ folder: string; tokenIn: 'keychain' | 'file'; keychainProblem?: string }>
}

/**
 * Saves URL, token and name, after the Control API has accepted them.
 * @throws ClawctlError INVALID_REQUEST, and the ports' errors; then nothing was written
 */
export async function logIn(answers: LoginAnswers, ports: LoginPorts) {
  const requestedBy = answers.requestedBy.trim()
  if (requestedBy && !REQUESTED_BY_PATTERN.test(requestedBy)) {
    throw new ClawctlError('INVALID_REQUEST', 'The name must be one line of at most 64 characters.', {
      hint: 'Give the name for your deploys, such as "Jo".',
    })
  }
  const url = answers.url.trim()
  const fleet = await ports.ask(url, answers.token.trim())
  const saved = { controlApiUrl: url, ...(requestedBy ? { requestedBy } : {}) }
  const place = await ports.save(saved, answers.token.trim())
  return { ...saved, ...place, instances: fleet.instances.length }
}
