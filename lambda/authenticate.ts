import { createHash, timingSafeEqual } from 'node:crypto'
import { parseCallerTokens } from '../src/lib/domain/controlSecrets.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import type { Env } from './configuration.js'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Who asks: an instance with a token of its own, or whoever has the shared one. */
export interface Identity {
  caller: string | null
}

/**
 * The tokens that are accepted, as digests, so that neither a token's length nor a common beginning shows in the time
 * that a comparison takes. Every candidate is compared, whichever matches.
 */
export class Authenticator {
  readonly #shared: readonly Buffer[]
  readonly #callers: readonly (readonly [caller: string, digest: Buffer])[]

  constructor(env: Env) {
    this.#shared = [env.CONTROL_API_TOKEN, env.CONTROL_API_TOKEN_PREVIOUS].flatMap((token) =>
      token ? [digest(token)] : [],
    )
    // A table that can't be read lets nobody in; who has the shared token is told by readConfiguration.
    const callers = parseCallerTokens(env.CONTROL_API_CALLER_TOKENS) ?? new Map<string, string>()
    this.#callers = [...callers].map(([caller, hex]) => [caller, Buffer.from(hex, 'hex')] as const)
  }

  /** @throws ClawctlError UNAUTHORIZED, the same whether a token is missing, wrong, or none is configured */
  identify(authorization: string | undefined): Identity & { token: string } {
    const token = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization ?? '')?.[1] ?? ''
    const given = digest(token)
    let shared = false
    for (const known of this.#shared) {
      if (timingSafeEqual(given, known)) shared = true
    }
    const caller = this.#callerOf(given)
    if (token !== '' && (shared || caller !== null)) return { caller, token }
    throw new ClawctlError('UNAUTHORIZED', 'The bearer token is missing or wrong.', {
      hint: 'Check the control token: a file or variable on a laptop, /run/agenix/clawdinator-control-token on a host.',
    })
  }

  /** Whether the text is the token of an instance, of which only the digest is known. */
  isCallerToken(text: string): boolean {
    return this.#callers.length > 0 && this.#callerOf(digest(text)) !== null
  }

  #callerOf(given: Buffer): string | null {
    let found: string | null = null
    for (const [caller, known] of this.#callers) {
      if (timingSafeEqual(given, known)) found = caller
    }
    return found
  }
}
