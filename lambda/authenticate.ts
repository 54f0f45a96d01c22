import { createHash, timingSafeEqual } from 'node:crypto'
import { parseTokenTable, TOKEN_TABLES, type TokenScope } from '../src/lib/domain/controlSecrets.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import type { Env } from './configuration.js'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** `caller`: the instance to which the token belongs; null for the shared token and for read tokens. */
export interface Bearer {
  caller: string | null
  scope: TokenScope
}

interface Known {
  bearer: Bearer
  digest: Buffer
}

/**
 * The accepted tokens, as digests. A comparison's time depends neither on a token's length nor on how much of it is
 * right; every token is compared, even after a match.
 */
export class Authenticator {
  readonly #known: readonly Known[]
  readonly #tables: readonly Known[]

  constructor(env: Env) {
    const shared = [env.CONTROL_API_TOKEN, env.CONTROL_API_TOKEN_PREVIOUS].flatMap((token) =>
      token ? [{ bearer: { caller: null, scope: 'deploy' as const }, digest: digest(token) }] : [],
    )
    this.#tables = [...tableOf(env, 'deploy'), ...tableOf(env, 'read')]
    this.#known = [...shared, ...this.#tables]
  }

  /** @throws ClawctlError UNAUTHORIZED, the same whether a token is missing, wrong, or none is configured */
  identify(authorization: string | undefined): Bearer & { token: string } {
    const token = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization ?? '')?.[1] ?? ''
    const bearer = find(this.#known, digest(token))
    if (token !== '' && bearer) return { ...bearer, token }
    throw new ClawctlError('UNAUTHORIZED', 'The bearer token is missing or wrong.', {
      hint: 'Check the control token: on a laptop, `clawctl login` saves a new one; on a host it is /run/agenix/clawdinator-control-token.',
    })
  }

  /** Whether the text is a token of which only the digest is known. */
  isOwnToken(text: string): boolean {
    return this.#tables.length > 0 && find(this.#tables, digest(text)) !== null
  }
}

/** No token of a table that can't be read is accepted; readConfiguration reports such a table. */
function tableOf(env: Env, scope: TokenScope): Known[] {
  return [...(parseTokenTable(env[TOKEN_TABLES[scope]]) ?? [])].flatMap(([owner, digests]) =>
    digests.map((hex) => ({
      bearer: { caller: scope === 'deploy' ? owner : null, scope },
      digest: Buffer.from(hex, 'hex'),
    })),
  )
}

function find(known: readonly Known[], given: Buffer): Bearer | null {
  let found: Bearer | null = null
  for (const { bearer, digest } of known) {
    if (timingSafeEqual(given, digest)) found = bearer
  }
  return found
}
