import { createPublicKey, randomBytes, verify } from 'node:crypto'
import * as z from 'zod/mini'
import { parseJson } from '../../src/lib/domain/json.js'
import { stamp } from './state.js'

/** A GitHub App and its one installation, on the one repository. */
export interface GitHubAppOptions {
  appId: string
  installationId: string
  /** PEM; may also be a private key. */
  publicKey: string | Promise<string>
  /** The permissions of the installation. */
  permissions: Readonly<Record<string, string>>
  suspended?: boolean
  /** How long a token lives; an hour. */
  tokenLifeMs?: number
}

export interface InstallationToken {
  token: string
  expiresAt: number
  permissions: Readonly<Record<string, string>>
}

export type MintResult =
  | { ok: true; minted: InstallationToken }
  | { ok: false; status: 401 | 403 | 404 | 422; message: string }

const HOUR_MS = 3_600_000
/** GitHub's limit of a JWT's lifetime, and its tolerance for clocks. */
const MAX_JWT_S = 600
const LEEWAY_S = 5
const RANK = { read: 1, write: 2, admin: 3 } as const

const headerSchema = z.object({ alg: z.literal('RS256') })
const claimsSchema = z.object({ iss: z.union([z.string(), z.number()]), iat: z.int(), exp: z.int() })
const requestSchema = z.object({
  repositories: z.optional(z.array(z.string())),
  permissions: z.optional(z.record(z.string(), z.enum(['read', 'write', 'admin']))),
})

/** Mints installation tokens like GitHub: for a signed JWT, restricted as requested, valid for an hour. */
export class Apps {
  readonly #options: GitHubAppOptions
  readonly #repository: string
  #tokens: InstallationToken[] = []

  constructor(options: GitHubAppOptions, repository: string) {
    this.#options = options
    this.#repository = repository
  }

  /** Null for a token that is unknown, revoked or expired. */
  tokenOf(token: string): InstallationToken | null {
    this.#tokens = this.#tokens.filter(({ expiresAt }) => expiresAt > Date.now())
    return this.#tokens.find((one) => one.token === token) ?? null
  }

  revokeAll(): void {
    this.#tokens = []
  }

  async mint(installationId: string, jwt: string, body: string): Promise<MintResult> {
    const problem = await this.#problemOf(jwt)
    if (problem) return problem
    const { permissions: granted, suspended, tokenLifeMs } = this.#options
    if (installationId !== this.#options.installationId) return refuse(404, 'Not Found')
    if (suspended) return refuse(403, 'This installation has been suspended')
    const asked = requestSchema.safeParse(body === '' ? {} : parseJson(body))
    if (!asked.success) return refuse(422, 'Invalid request.')
    const { repositories, permissions } = asked.data
    const name = this.#repository.split('/')[1]
    if (repositories?.some((repository) => repository !== name)) {
      return refuse(
        422,
        'There is at least one repository that does not exist or is not accessible to the parent installation.',
      )
    }
    if (Object.entries(permissions ?? {}).some(([permission, level]) => !reaches(granted[permission], level))) {
      return refuse(422, 'The permissions requested are not granted to this installation.')
    }
    const minted = {
      token: `ghs_${randomBytes(18).toString('hex')}`,
      expiresAt: Math.floor((Date.now() + (tokenLifeMs ?? HOUR_MS)) / 1000) * 1000,
      permissions: { ...(permissions ?? granted), metadata: 'read' },
    }
    this.#tokens.push(minted)
    return { ok: true, minted }
  }

  async #problemOf(jwt: string): Promise<Extract<MintResult, { ok: false }> | null> {
    const undecodable = refuse(401, 'A JSON web token could not be decoded')
    const [header, claims, signature, ...more] = jwt.split('.')
    if (!header || !claims || !signature || more.length > 0) return undecodable
    if (!headerSchema.safeParse(fromBase64(header)).success) return undecodable
    const parsed = claimsSchema.safeParse(fromBase64(claims))
    if (!parsed.success) return undecodable
    const { iss, iat, exp } = parsed.data
    if (String(iss) !== this.#options.appId) return refuse(404, 'Integration not found')
    const signed = verify(
      'RSA-SHA256',
      Buffer.from(`${header}.${claims}`),
      createPublicKey(await this.#options.publicKey),
      Buffer.from(signature, 'base64url'),
    )
    if (!signed) return undecodable
    const now = Date.now() / 1000
    if (iat > now + LEEWAY_S) {
      return refuse(
        401,
        "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
      )
    }
    if (exp < now - LEEWAY_S) {
      return refuse(
        401,
        "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
      )
    }
    if (exp > now + MAX_JWT_S + LEEWAY_S) {
      return refuse(401, "'Expiration time' claim ('exp') is too far in the future")
    }
    return null
  }
}

function refuse(status: 401 | 403 | 404 | 422, message: string): Extract<MintResult, { ok: false }> {
  return { ok: false, status, message }
}

/** Whether a granted level is enough. */
export function reaches(granted: string | undefined, wanted: keyof typeof RANK): boolean {
  return (RANK[granted as keyof typeof RANK] ?? 0) >= RANK[wanted]
}

export const expiryOf = ({ expiresAt }: InstallationToken) => stamp(new Date(expiresAt))

function fromBase64(text: string): unknown {
  return parseJson(Buffer.from(text, 'base64url').toString())
}
