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
  /** The fleet, as the Control API at that URL answers this token. @throws ClawctlError NOT_CONFIGURED, UNAUTHORIZED, UPSTREAM */
  ask(url: string, token: string): Promise<Fleet>
  /** The folder that it was saved in. @throws ClawctlError NOT_WRITABLE */
  save(settings: { controlApiUrl: string; requestedBy?: string }, token: string): Promise<string>
}

/**
 * Saves where the Control API is and how this person asks it, once it has answered: what does not work is not kept.
 * @throws ClawctlError INVALID_REQUEST, and what the ports throw; then nothing was written
 */
export async function logIn(answers: LoginAnswers, ports: LoginPorts) {
  const requestedBy = answers.requestedBy.trim()
  if (requestedBy && !REQUESTED_BY_PATTERN.test(requestedBy)) {
    throw new ClawctlError('INVALID_REQUEST', 'The name must be one line of at most 64 characters.', {
      hint: 'Give the name that deploys are to show, such as "Jo".',
    })
  }
  const url = answers.url.trim()
  const fleet = await ports.ask(url, answers.token.trim())
  const saved = { controlApiUrl: url, ...(requestedBy ? { requestedBy } : {}) }
  const folder = await ports.save(saved, answers.token.trim())
  return { ...saved, folder, instances: fleet.instances.length }
}
